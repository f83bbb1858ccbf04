//! tokio: a task for each client, all on one thread.

use io_models_peers::{BUFFER, listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn serve(mut client: TcpStream) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match client.read(&mut buffer).await? {
            0 => return Ok(()),
            n => client.write_all(&buffer[..n]).await?,
        }
    }
}

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener())?;
        loop {
            let (client, _) = listener.accept().await?;
            tokio::spawn(serve(client));
        }
    })
}
