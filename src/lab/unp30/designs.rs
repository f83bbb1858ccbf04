//! The table of the book's designs, and which models are measured beside them.

use crate::model::{self, Model};

/// A server design of UNP, volume 1, chapter 30.
#[derive(Debug, Clone, Copy)]
pub struct Design {
    /// Its number in the book. 0 is the iterative server.
    pub number: u8,
    /// What the book calls it.
    pub name: &'static str,
    /// The model that has this design.
    pub model: &'static str,
}

/// The nine designs, in the order of the book.
pub const BOOK: [Design; 9] = [
    Design { number: 0, name: "iterative server", model: BASELINE },
    Design { number: 1, name: "one fork per client", model: "fork" },
    Design { number: 2, name: "prefork, each child calling accept", model: "prefork" },
    Design { number: 3, name: "prefork, file locking around accept", model: "prefork-flock" },
    Design { number: 4, name: "prefork, thread mutex locking around accept", model: "prefork-mutex" },
    Design { number: 5, name: "prefork, parent passing socket descriptor", model: "prefork-passing" },
    Design { number: 6, name: "one thread per client", model: "thread" },
    Design { number: 7, name: "prethreaded, mutex locking around accept (here without)", model: "prethread" },
    Design { number: 8, name: "prethreaded, main thread calling accept", model: "prethread-handover" },
];

/// The iterative server. It controls no processes, so what another design needs more is its process control.
pub const BASELINE: &str = "blocking";

/// The design that `model` has, if it is one of the book's.
#[must_use]
pub fn of(model: &Model) -> Option<Design> {
    BOOK.into_iter().find(|design| design.model == model.name)
}

/// Every model: the book's designs in the book's order, then the others in the order of [`model::ALL`].
#[must_use]
pub fn all() -> Vec<&'static Model> {
    let book = BOOK.iter().filter_map(|design| model::find(design.model));
    book.chain(model::ALL.iter().filter(|model| of(model).is_none())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_designs_have_the_numbers_of_the_book() {
        assert!(BOOK.iter().map(|design| design.number).eq(0..9));
    }

    #[test]
    fn every_design_has_a_model() {
        let missing: Vec<_> =
            BOOK.iter().filter(|d| model::find(d.model).is_none()).map(|d| d.model).collect();
        assert!(missing.is_empty(), "no such models: {missing:?}");
    }

    #[test]
    fn every_model_has_one_place_the_book_s_designs_first() {
        let all: Vec<_> = all().iter().map(|model| model.name).collect();
        assert_eq!(all.len(), model::ALL.len());
        assert!(model::ALL.iter().all(|model| all.contains(&model.name)), "{all:?}");
        assert_eq!(all[..2], [BASELINE, "fork"]);
    }
}
