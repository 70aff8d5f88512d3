//! A process that takes up a position, says so in one line, and stays there until it is killed:
//! `victim ADDRESS POSITION`.

use std::{env, error::Error, future::pending};

use mp_manager::{AUTHKEY_VARIABLE, Dict, List, Manager, Unnamed};
use mp_manager_server::{Options, Server};
use mp_manager_tests::AUTHKEY;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, position] = &arguments[..] else {
        return Err("usage: victim ADDRESS POSITION".into());
    };
    match position.as_str() {
        "serve" => serve(address).await,
        "embed" => embed().await,
        position => {
            let manager = Manager::connect(address, AUTHKEY).await?;
            take_up(position, &manager).await
        }
    }
}

async fn take_up(position: &str, manager: &Manager) -> Result {
    match position {
        "hold lock" => stay(manager.lock("resource").await?.acquire().await?).await,
        "hold rlock" => stay(manager.rlock("resource").await?.acquire().await?).await,
        "hold semaphore" => {
            stay(manager.semaphore("resource", 3).await?.acquire_many(3).await?).await
        }
        "hold condition" => stay(manager.condition("resource").await?.acquire().await?).await,
        "await notification" => {
            let condition = manager.condition("resource").await?;
            let guard = condition.acquire().await?;
            wait_for(condition.wait(guard)).await
        }
        "await lock" => wait_for(manager.lock("resource").await?.acquire()).await,
        "get" => wait_for(manager.queue::<u64>("jobs").await?.get()).await,
        "lease" => stay(manager.queue::<u64>("jobs").await?.lease().await?).await,
        "meet" => wait_for(manager.barrier("meeting", 3).await?.wait()).await,
        "send" => {
            let end = manager.pipe::<String, String>("talk").await?.first();
            end.send("last words").await?;
            stay(end).await
        }
        "receive" => {
            let end = manager.pipe::<String, String>("talk").await?.first();
            wait_for(end.receive()).await
        }
        "hold unnamed" => stay(unnamed(manager).await?).await,
        "count" => count(manager).await,
        other => Err(format!("no such position: {other}").into()),
    }
}

async fn stay<T>(held: T) -> Result {
    println!("holding");
    pending::<()>().await;
    drop(held);
    Ok(())
}

async fn wait_for<T>(call: impl Future<Output = mp_manager::Result<T>>) -> Result {
    println!("waiting");
    stay(call.await?).await
}

/// Nested ones: some are referred to by this process, some by one another.
async fn unnamed(manager: &Manager) -> Result<Vec<Dict<String, List<u64>>>> {
    let mut dicts = Vec::new();
    for _ in 0..10 {
        let (dict, list) = (manager.dict(Unnamed).await?, manager.list(Unnamed).await?);
        dict.insert("list", &list).await?;
        dicts.push(dict);
    }
    Ok(dicts)
}

/// A thousand times: takes the lock, reads, and writes one more. Says now and then that it goes on.
async fn count(manager: &Manager) -> Result {
    let lock = manager.lock("resource").await?;
    let totals = manager.dict::<String, u64>("totals").await?;
    for turn in 0..1000 {
        if turn % 100 == 0 {
            println!("counting");
        }
        let guard = lock.acquire().await?;
        let n = totals.get("n").await?.unwrap_or_default();
        totals.insert("n", &(n + 1)).await?;
        drop(guard);
    }
    // Who is killed once it has said so leaves nothing to be waited for.
    manager.clone().close().await?;
    println!("counted");
    Ok(())
}

async fn serve(address: &str) -> Result {
    let server = Server::bind(&address.parse()?, Options::new(AUTHKEY)).await?;
    println!("{}", server.address());
    Ok(server.run(pending()).await?)
}

/// Says what others need to connect to it, as it would pass it on to its children.
async fn embed() -> Result {
    let manager = Manager::start().await?;
    let environment = manager.environment();
    let authkey = environment.iter().find(|(name, _)| name == AUTHKEY_VARIABLE);
    let (_, authkey) = authkey.ok_or("the authkey is not in the environment")?;
    println!("{} {}", manager.address(), authkey.to_string_lossy());
    pending().await
}
