//! Dicts, lists, sets and Namespaces, and one inside the other.

use mp_manager::{List, Manager, Result, Unnamed};

#[tokio::main]
async fn main() -> Result<()> {
    let manager = Manager::start().await?;

    let scores = manager.dict::<String, u64>("scores").await?;
    scores.extend([("alice".to_owned(), 3), ("bob".to_owned(), 5)]).await?;
    scores.add("alice", &4).await?;
    println!("scores: {:?}", scores.items().await?);

    let names = manager.list::<String>("names").await?;
    names.extend(["carol".to_owned(), "alice".to_owned(), "bob".to_owned()]).await?;
    names.sort().await?;
    println!("sorted: {:?}, the last two: {:?}", names.copy().await?, names.slice(-2..).await?);

    // Two shared sets are intersected by the manager: neither travels.
    let online = manager.set::<String>("online").await?;
    online.extend(["alice", "bob"].map(String::from)).await?;
    let paying = manager.set::<String>("paying").await?;
    paying.extend(["bob", "carol"].map(String::from)).await?;
    let both: Vec<String> = online.intersection(&paying).await?;
    println!("online and paying: {both:?}");

    // A list without a name lives as long as something refers to it, such as this dict.
    let teams = manager.dict::<String, List<String>>("teams").await?;
    let red = manager.list::<String>(Unnamed).await?;
    teams.insert("red", &red).await?;
    drop(red);
    if let Some(red) = teams.get("red").await? {
        red.push("alice").await?;
        println!("team red: {:?}", red.copy().await?);
    }

    let settings = manager.namespace("settings").await?;
    settings.set("retries", &3).await?;
    settings.set("region", "north").await?;
    println!("settings: {:?}", settings.attributes().await?);
    Ok(())
}
