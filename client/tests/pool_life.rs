//! Pools that are closed, resized and asked for much, and results that nobody completes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mp_manager::{
    Dict, Error, Manager, Pool, Result, TaskFailure, Unnamed, blocking, process, task,
};

async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(100), future).await.expect("it hangs")
}

#[task]
fn square(x: u64) -> u64 {
    x * x
}

/// Takes as long as it takes somebody to stop waiting for it.
#[task(idempotent)]
fn nap(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

#[task]
fn make_text(bytes: usize) -> String {
    "x".repeat(bytes)
}

#[task]
fn measure(text: String) -> usize {
    text.len()
}

/// A dict that only the result refers to.
#[task]
async fn make_dict(x: u64) -> Result<Dict<String, u64>> {
    let dict = Manager::current().await?.dict(Unnamed).await?;
    dict.insert("x", x).await?;
    Ok(dict)
}

#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
async fn closed_under_way(pool: Pool) {
    let result = pool.map_async(nap, [2; 100]);
    let one = pool.apply_async(square, (7,));
    within(pool.close()).await.unwrap();
    let error = within(pool.apply(square, (1,))).await.unwrap_err();
    assert!(matches!(error, Error::PoolClosed(_)), "{error}");
    within(pool.join()).await.unwrap();
    assert_eq!(within(result.get()).await.unwrap(), [2; 100]);
    assert_eq!(within(one.get()).await.unwrap(), 49);
}

#[mp_manager::test]
async fn what_was_submitted_before_a_pool_was_closed_is_executed() {
    closed_under_way(within(Pool::new(2)).await.unwrap()).await;
    closed_under_way(Pool::threads(2).unwrap()).await;
}

#[mp_manager::test]
async fn a_pool_closes_after_the_last_runs_of_a_map_have_gone_out() {
    for pool in [within(Pool::new(2)).await.unwrap(), Pool::threads(2).unwrap()] {
        // When the first runs are done, all others are submitted together.
        let result = pool.map_async(square, 0..2000);
        within(pool.close()).await.unwrap();
        let squares: Vec<_> = (0..2000).map(|x| x * x).collect();
        assert_eq!(within(result.get()).await.unwrap(), squares);
        within(pool.join()).await.unwrap();
    }
}

#[mp_manager::test]
async fn a_stream_that_nobody_reads_holds_up_nobody() {
    for pool in [within(Pool::new(1)).await.unwrap(), Pool::threads(1).unwrap()] {
        let mut endless = pool.imap(square, 0..);
        let mut short = pool.imap(square, 0..200).chunk_size(1);
        assert_eq!(within(endless.next()).await.unwrap().unwrap(), 0);
        assert_eq!(within(short.next()).await.unwrap().unwrap(), 0);
        within(pool.close()).await.unwrap();
        // What is read to its end was submitted.
        for x in 1..200 {
            assert_eq!(within(short.next()).await.unwrap().unwrap(), x * x);
        }
        within(pool.join()).await.unwrap();
        while let Some(next) = within(endless.next()).await {
            if let Err(error) = next {
                assert!(matches!(error, Error::PoolClosed(_)), "{error}");
                break;
            }
        }
    }
}

#[mp_manager::test]
async fn a_pool_that_was_terminated_executes_nothing_more() {
    for pool in [within(Pool::new(1)).await.unwrap(), Pool::threads(1).unwrap()] {
        let results: Vec<_> = (0..5).map(|_| pool.apply_async(nap, (50,))).collect();
        within(pool.terminate()).await.unwrap();
        let mut refused = 0;
        for result in results {
            refused += usize::from(within(result.get()).await.is_err());
        }
        // One may have been executed already.
        assert!(refused >= 4, "{refused}");
    }
}

#[mp_manager::test]
async fn a_result_comes_although_its_callback_panics() {
    let pool = Pool::threads(1).unwrap();
    let result = pool.apply(square, (3,)).callback(|_| panic!("out of luck")).start();
    assert_eq!(within(result.get()).await.unwrap(), 9);
}

#[mp_manager::test]
async fn a_result_that_nobody_completes_is_an_error() {
    let pool = within(Pool::new(1)).await.unwrap();
    let inputs = (0..1000_u64).inspect(|x| assert!(*x < 500, "out of luck"));
    let result = pool.map(square, inputs).chunk_size(1).start();
    let error = within(result.get()).await.unwrap_err();
    assert!(matches!(error, Error::Cancelled(_)), "{error}");
    // The runtime on which it was submitted ends.
    let other = pool.clone();
    let result = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        other.apply_async(nap, (50,))
    });
    let error = within(result.join().unwrap().get()).await.unwrap_err();
    assert!(matches!(error, Error::Cancelled(_)), "{error}");
    assert_eq!(within(pool.apply(square, (3,))).await.unwrap(), 9);
}

#[mp_manager::test]
fn results_without_a_runtime_need_no_thread_each() {
    let pool = blocking::Pool::new(1).unwrap();
    let results: Vec<_> = (0..200).map(|x| pool.apply_async(square, (x,))).collect();
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
    assert!(threads < 100, "{threads} threads");
    for (x, result) in (0..).zip(results) {
        assert_eq!(result.get().unwrap(), x * x);
    }
}

#[mp_manager::test]
async fn a_proxy_in_a_result_is_there_when_it_arrives() {
    let pool = within(Pool::new(2)).await.unwrap();
    let dicts = within(pool.map(make_dict, 0..200)).await.unwrap();
    for (x, dict) in (0..).zip(dicts) {
        assert_eq!(within(dict.get("x")).await.unwrap(), Some(x));
    }
}

#[mp_manager::test]
async fn sizes_that_fit_alone_fit_together() {
    const LIMIT: usize = 16 << 20;
    let pool = within(Pool::new(1)).await.unwrap();
    let sizes = [900 << 10, LIMIT - 100, 10, LIMIT + 1];
    let results = within(pool.map(make_text, sizes).chunk_size(4).results()).await.unwrap();
    let lens: Vec<_> = results.iter().map(|result| result.as_ref().map(String::len)).collect();
    assert_eq!(lens[..3], [Ok(900 << 10), Ok(LIMIT - 100), Ok(10)]);
    assert!(matches!(lens[3], Err(TaskFailure::ResultTooLarge { .. })), "{:?}", lens[3]);
    let texts = ["x".repeat(100), "x".repeat(LIMIT - 50), "x".repeat(7)];
    let lens = within(pool.map(measure, texts).chunk_size(3)).await.unwrap();
    assert_eq!(lens, [100, LIMIT - 50, 7]);
}

#[mp_manager::test]
async fn a_large_chunk_goes_on_where_it_was() {
    let pool = within(Pool::new(2)).await.unwrap();
    let squares = within(pool.map(square, 0..200_000).chunk_size(200_000)).await.unwrap();
    assert!(squares.into_iter().eq((0..200_000).map(|x| x * x)));
}

#[mp_manager::test]
async fn the_first_error_ends_a_map_at_once() {
    let pool = within(Pool::new(2)).await.unwrap();
    // The first input takes longer than anybody waits here.
    let error = within(pool.map(nap_or_fail, [u64::MAX, 0]).chunk_size(1)).await.unwrap_err();
    let Error::TaskFailed(failed) = &error else { panic!("{error}") };
    assert_eq!(failed.index(), 1);
    within(pool.terminate()).await.unwrap();
}

#[task]
fn nap_or_fail(n: u64) -> Result<(), String> {
    match n {
        0 => Err("out of luck".into()),
        _ => loop {
            std::thread::park();
        },
    }
}

#[mp_manager::test]
async fn a_pool_has_as_many_workers_as_it_was_resized_to() {
    let pool = within(Pool::new(4)).await.unwrap();
    for _ in 0..5 {
        pool.resize(1).unwrap();
        pool.resize(4).unwrap();
        within(async {
            while pool.status().await.unwrap().workers != 4 || pool.pids().len() != 4 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[mp_manager::test]
async fn threads_say_what_they_have_to_do() {
    let pool = Pool::threads(1).unwrap();
    let begun = Arc::new(AtomicUsize::new(0));
    let results: Vec<_> = (0..3)
        .map(|_| {
            let begun = Arc::clone(&begun);
            let counted = pool.apply(nap, (20,)).callback(move |_| {
                begun.fetch_add(1, Ordering::Relaxed);
            });
            counted.start()
        })
        .collect();
    let status = pool.status().await.unwrap();
    assert_eq!(status.queued + status.running + begun.load(Ordering::Relaxed), 3, "{status:?}");
    for result in results {
        within(result.get()).await.unwrap();
    }
    let status = pool.status().await.unwrap();
    assert_eq!((status.queued, status.running), (0, 0));
    assert!(process::fence().is_none());
}

/// The 78th ends its worker once it is told to.
#[task]
async fn step(x: u64) -> Result<u64> {
    if x == 77 {
        Manager::current().await?.event("go").await?.wait().await?;
        std::process::abort();
    }
    std::thread::sleep(Duration::from_millis(1));
    Ok(x)
}

#[mp_manager::test]
async fn what_was_done_in_a_chunk_does_not_die_with_its_worker() {
    let pool = within(Pool::new(1)).await.unwrap();
    let go = pool.manager().unwrap().event("go").await.unwrap();
    let results = tokio::spawn(pool.map(step, 0..90).chunk_size(90).results().into_future());
    // Those before it are done, and it is known.
    within(async {
        loop {
            let status = pool.status().await.unwrap();
            if status.queued + status.running == 13 {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    go.set().await.unwrap();
    for (x, result) in (0..).zip(within(results).await.unwrap().unwrap()) {
        match result {
            Ok(done) => assert!(done == x && x != 77),
            Err(failure) => {
                assert_eq!(x, 77);
                assert!(matches!(failure, TaskFailure::WorkerLost { .. }), "{failure}");
            }
        }
    }
}
