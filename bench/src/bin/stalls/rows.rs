//! The long operations that are measured.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use mp_manager::{Event, Fence, List, Manager, Queue, Set, Unnamed};
use mp_manager_bench::AUTHKEY;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::bystander::{Bystander, Pings};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Measured = Result<(Duration, Pings), Error>;
type Row = fn(String, usize, Bystander) -> Pin<Box<dyn Future<Output = Measured> + Send>>;

macro_rules! rows {
    ($($name:literal => $row:ident,)*) => {
        /// Each with a name; the sizes are those of the names, or a part of them.
        pub(crate) const ROWS: &[(&str, Row)] = &[
            $(($name, |address, part, bystander| Box::pin($row(address, part, bystander))),)*
        ];
    };
}

rows! {
    "fenced sort of a list of 10^6" => fenced_sort,
    "union with a set that is busy, of 10^6" => busy_operand,
    "union of two sets of 10^6" => union,
    "inspecting 10^6 objects" => inspect,
    "scraping metrics of 2*10^5 objects" => scrape,
    "repeat_in_place to 10^7 elements" => repeat,
    "put_many of 10^6 items" => put_many,
    "a dict grows to 5*10^6 entries" => grow,
    "clear of a dict of 5*10^6" => clear,
    "delete of a dict of 5*10^6" => delete,
    "pop_item until a dict of 10^6 is empty" => pop,
    "shutdown_immediate of a queue of 10^6" => shutdown,
    "a session ends with 10^5 leases" => end_with_leases,
    "a session ends with 10^5 objects touched" => end_with_objects,
    "copy of a list of 10^6" => copy,
    "setting an event that 10^5 calls wait for" => set_event,
    "contains of a map of 10^5 in a list of 300" => contains,
}

async fn connect(address: &str) -> Result<Manager, Error> {
    Ok(Manager::connect(address, AUTHKEY).await?)
}

/// How long something takes, and what the bystander notices.
async fn measure<T, E: Into<Error>>(
    mut bystander: Bystander,
    what: impl Future<Output = Result<T, E>>,
) -> Measured {
    bystander.begin()?;
    let began = Instant::now();
    what.await.map_err(Into::into)?;
    let took = began.elapsed();
    // What follows from it belongs to it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    Ok((took, bystander.end()?))
}

async fn numbers(manager: &Manager, count: usize) -> Result<List<u64>, Error> {
    let list = manager.list(Unnamed).await?;
    for chunk in 0..count as u64 / 1000 {
        // In no order.
        list.extend((0..1000).map(|n| (chunk * 1000 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .await?;
    }
    Ok(list)
}

async fn set(manager: &Manager, numbers: std::ops::Range<u64>) -> Result<Set<u64>, Error> {
    let set = manager.set(Unnamed).await?;
    let all: Vec<u64> = numbers.collect();
    for chunk in all.chunks(10_000) {
        set.extend(chunk.to_vec()).await?;
    }
    Ok(set)
}

async fn dict(manager: &Manager, count: u64) -> Result<mp_manager::Dict<u64, u64>, Error> {
    let dict = manager.dict("large").await?;
    fill(&dict, count).await?;
    Ok(dict)
}

async fn fill(dict: &mp_manager::Dict<u64, u64>, count: u64) -> mp_manager::Result<()> {
    for chunk in 0..count / 1000 {
        dict.extend((0..1000).map(|n| (chunk * 1000 + n, n))).await?;
    }
    Ok(())
}

async fn fenced_sort(address: String, part: usize, bystander: Bystander) -> Measured {
    let manager = connect(&address).await?;
    let list = numbers(&manager, 1_000_000 / part).await?;
    let guard = manager.lock(Unnamed).await?.acquire().await?;
    let list = list.fenced(Fence::from(&guard));
    measure(bystander, list.sort()).await
}

async fn busy_operand(address: String, part: usize, bystander: Bystander) -> Measured {
    let (manager, other) = (connect(&address).await?, connect(&address).await?);
    let count = 1_000_000 / part as u64;
    let (left, right) = (set(&manager, 0..count).await?, set(&manager, count..2 * count).await?);
    let small: Set<u64> = other.set(Unnamed).await?;
    small.add(&1).await?;
    manager.dict::<u8, Set<u64>>("sets").await?.insert(&0, &right).await?;
    let right_there = other.dict::<u8, Set<u64>>("sets").await?.get(&0).await?;
    let right_there = right_there.ok_or("it is there")?;
    let both =
        async { tokio::try_join!(right.extend(&left), small.extend(&right_there)).map(drop) };
    measure(bystander, both).await
}

async fn union(address: String, part: usize, bystander: Bystander) -> Measured {
    let manager = connect(&address).await?;
    let count = 1_000_000 / part as u64;
    let (left, right) = (set(&manager, 0..count).await?, set(&manager, 0..count).await?);
    measure(bystander, left.is_subset(&right)).await
}

async fn inspect(address: String, part: usize, bystander: Bystander) -> Measured {
    let manager = connect(&address).await?;
    let open = |manager: Manager, name: String| async move { manager.lock(name).await.map(drop) };
    named(&manager, 1000 / part, open).await?;
    measure(bystander, manager.inspect(None)).await
}

/// Opens so many thousand objects, each with a name of its own.
async fn named<F>(
    manager: &Manager,
    thousands: usize,
    open: impl Fn(Manager, String) -> F,
) -> Result<(), Error>
where
    F: Future<Output = mp_manager::Result<()>> + Send + 'static,
{
    for chunk in 0..thousands {
        let names = (0..1000).map(|n| format!("object {}", chunk * 1000 + n));
        let mut all: JoinSet<_> = names.map(|name| open(manager.clone(), name)).collect();
        while let Some(opened) = all.join_next().await {
            opened??;
        }
    }
    Ok(())
}

/// Half of the objects are queues, each with an item.
async fn scrape(address: String, part: usize, bystander: Bystander) -> Measured {
    let manager = connect(&address).await?;
    let open = |manager: Manager, name: String| async move {
        if name.ends_with(['0', '2', '4', '6', '8']) {
            return manager.lock(name).await.map(drop);
        }
        let queue: Queue<u64> = manager.queue(name).await?;
        queue.put(&7).await
    };
    named(&manager, 200 / part, open).await?;
    let place = bystander.metrics().to_owned();
    measure(bystander, async move {
        for _ in 0..10 {
            let text = get(&place).await?;
            if !text.starts_with("HTTP/1.1 200") || !text.contains("mp_manager_series_omitted") {
                return Err(Error::from(text));
            }
        }
        Ok(())
    })
    .await
}

/// Reads the metrics over HTTP.
async fn get(place: &str) -> Result<String, Error> {
    let mut stream = TcpStream::connect(place).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: here\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

async fn repeat(address: String, part: usize, bystander: Bystander) -> Measured {
    let manager = connect(&address).await?;
    let list: List<u64> = manager.list(Unnamed).await?;
    list.push(7).await?;
    measure(bystander, list.repeat_in_place(10_000_000 / part as i64)).await
}

async fn put_many(address: String, part: usize, bystander: Bystander) -> Measured {
    let manager = connect(&address).await?;
    let queue: Queue<u64> = manager.queue(Unnamed).await?;
    let items: Vec<u64> = (0..1_000_000 / part as u64).collect();
    measure(bystander, queue.put_many(&items)).await
}

async fn grow(address: String, part: usize, bystander: Bystander) -> Measured {
    let manager = connect(&address).await?;
    let dict = manager.dict(Unnamed).await?;
    measure(bystander, fill(&dict, 5_000_000 / part as u64)).await
}

async fn clear(address: String, part: usize, bystander: Bystander) -> Measured {
    let manager = connect(&address).await?;
    let dict = dict(&manager, 5_000_000 / part as u64).await?;
    measure(bystander, dict.clear()).await
}

async fn delete(address: String, part: usize, bystander: Bystander) -> Measured {
    let manager = connect(&address).await?;
    dict(&manager, 5_000_000 / part as u64).await?;
    measure(bystander, manager.delete("large")).await
}

async fn pop(address: String, part: usize, bystander: Bystander) -> Measured {
    let manager = connect(&address).await?;
    let dict = dict(&manager, 1_000_000 / part as u64).await?;
    let pop = async {
        let poppers = (0..64).map(|_| {
            let dict = dict.clone();
            async move {
                while dict.pop_item().await?.is_some() {}
                Ok::<_, mp_manager::Error>(())
            }
        });
        let mut poppers: JoinSet<_> = poppers.collect();
        while let Some(popped) = poppers.join_next().await {
            popped??;
        }
        Ok::<_, Error>(())
    };
    measure(bystander, pop).await
}

async fn shutdown(address: String, part: usize, bystander: Bystander) -> Measured {
    let manager = connect(&address).await?;
    let queue: Queue<u64> = manager.queue(Unnamed).await?;
    queue.put_many(&(0..1_000_000 / part as u64).collect::<Vec<_>>()).await?;
    measure(bystander, queue.shutdown_immediate()).await
}

async fn end_with_leases(address: String, part: usize, bystander: Bystander) -> Measured {
    let (manager, other) = (connect(&address).await?, connect(&address).await?);
    let queue: Queue<u64> = manager.queue("jobs").await?;
    let count = 100_000 / part;
    queue.put_many(&(0..count as u64).collect::<Vec<_>>()).await?;
    let jobs: Queue<u64> = other.queue("jobs").await?;
    let mut leases = Vec::new();
    for _ in 0..count / 100 {
        let lease = |_| {
            let jobs = jobs.clone();
            async move { jobs.lease().await }
        };
        let mut all: JoinSet<_> = (0..100).map(lease).collect();
        while let Some(lease) = all.join_next().await {
            leases.push(lease??);
        }
    }
    measure(bystander, async {
        other.close().await?;
        drop(leases);
        Ok::<_, mp_manager::Error>(())
    })
    .await
}

async fn end_with_objects(address: String, part: usize, bystander: Bystander) -> Measured {
    let manager = connect(&address).await?;
    let mut guards = Vec::new();
    for _ in 0..1000 / part {
        let acquire = |_| {
            let manager = manager.clone();
            async move { manager.lock(Unnamed).await?.acquire().await }
        };
        let mut all: JoinSet<_> = (0..100).map(acquire).collect();
        while let Some(guard) = all.join_next().await {
            guards.push(guard??);
        }
    }
    measure(bystander, manager.close()).await
}

async fn copy(address: String, part: usize, bystander: Bystander) -> Measured {
    let manager = connect(&address).await?;
    let list = numbers(&manager, 1_000_000 / part).await?;
    measure(bystander, list.copy()).await
}

async fn set_event(address: String, part: usize, bystander: Bystander) -> Measured {
    let manager = connect(&address).await?;
    let event: Event = manager.event("go").await?;
    let mut waiting = JoinSet::new();
    for _ in 0..4 {
        let theirs = Arc::new(connect(&address).await?.event("go").await?);
        for _ in 0..25_000 / part {
            let theirs = Arc::clone(&theirs);
            waiting.spawn(async move { theirs.wait().await });
        }
    }
    let wanted = 4 * (25_000 / part);
    loop {
        let seen = manager.inspect(Some("go")).await?;
        let open: u64 = seen.sessions.iter().map(|session| session.open_requests).sum();
        if open as usize >= wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    measure(bystander, async {
        event.set().await?;
        while let Some(waited) = waiting.join_next().await {
            waited??;
        }
        Ok::<_, Error>(())
    })
    .await
}

async fn contains(address: String, part: usize, bystander: Bystander) -> Measured {
    let manager = connect(&address).await?;
    let list: List<BTreeMap<u64, u64>> = manager.list(Unnamed).await?;
    let map = |last: u64| -> BTreeMap<u64, u64> {
        (0..100_000 / part as u64).map(|n| (n, n)).chain([(u64::MAX, last)]).collect()
    };
    for n in 0..300 {
        list.push(&map(n)).await?;
    }
    let missing = map(1000);
    measure(bystander, list.contains(&missing)).await
}
