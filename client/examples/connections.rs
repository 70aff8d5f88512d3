//! Two programs that talk without a manager between them.
//!
//!     cargo run -p mp-manager --example connections -- listen 127.0.0.1:7000 "a key of theirs"
//!     cargo run -p mp-manager --example connections -- connect 127.0.0.1:7000 "a key of theirs"
//!
//! Without arguments it is both of them.

use std::env;

use mp_manager::{
    Error, Result,
    connection::{Client, Connection, Listener},
};

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => {
            let listener = Listener::bind("127.0.0.1:0", "authkey").await?;
            let address = listener.address().to_owned();
            tokio::spawn(async move { serve(&listener).await });
            ask(&address, "authkey").await
        }
        ["listen", address, authkey] => {
            let listener = Listener::bind(address, authkey).await?;
            println!("listening on {}", listener.address());
            serve(&listener).await
        }
        ["connect", address, authkey] => ask(address, authkey).await,
        _ => Err(Error::Configuration("use listen or connect, an address and an authkey".into())),
    }
}

async fn serve(listener: &Listener) -> Result<()> {
    loop {
        match listener.accept().await {
            Ok(connection) => drop(tokio::spawn(answer(connection))),
            // That concerns this peer alone.
            Err(Error::AuthenticationFailed(stranger)) => eprintln!("{stranger}"),
            Err(error) => return Err(error),
        }
    }
}

/// Says how long each text is, until the other end is closed.
async fn answer(connection: Connection) -> Result<()> {
    println!("{} is here", connection.peer());
    loop {
        let text: String = connection.recv().await?;
        connection.send(&text.len()).await?;
    }
}

async fn ask(address: &str, authkey: &str) -> Result<()> {
    let connection = Client::connect(address, authkey).await?;
    for text in ["hello", "good day to you"] {
        connection.send(text).await?;
        println!("\"{text}\" has {} bytes", connection.recv::<usize>().await?);
    }
    connection.close().await
}
