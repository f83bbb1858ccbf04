//! monoio: a task for each client, over io_uring, on one thread.

use io_models_peers::{BUFFER, listener};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};

async fn serve(mut client: TcpStream) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        let (n, read) = client.read(buffer).await;
        if n? == 0 {
            return Ok(());
        }
        let (sent, back) = client.write_all(read).await;
        sent?;
        buffer = back;
        buffer.clear();
    }
}

fn main() -> std::io::Result<()> {
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener())?;
        loop {
            let (client, _) = listener.accept().await?;
            monoio::spawn(serve(client));
        }
    })
}
