//! Ends of pipes that go to other processes.

use std::time::Duration;

use mp_manager::{Error, Manager, PipeEnd, Pool, Process, Result, Unnamed, task};

async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(100), future).await.expect("it hangs")
}

/// Answers until the other end is closed, and says how often.
#[task]
async fn answer(end: PipeEnd<u64, u64>) -> Result<u64> {
    let mut answered = 0;
    loop {
        match end.receive().await {
            Ok(x) => end.send(x * x).await?,
            Err(Error::EndOfFile(_)) => return Ok(answered),
            Err(error) => return Err(error),
        }
        answered += 1;
    }
}

#[mp_manager::test]
async fn an_end_that_goes_to_a_child_stays_open_until_that_ends() {
    let manager = within(Manager::start()).await.unwrap();
    let (ours, theirs) = manager.pipe(Unnamed).await.unwrap().ends();
    // Nobody but the child has it once it has started.
    let child = within(Process::new(answer, (theirs,)).start()).await.unwrap();
    for x in 1..5_u64 {
        ours.send(x).await.unwrap();
        assert_eq!(within(ours.receive()).await.unwrap(), x * x);
    }
    child.kill().unwrap();
    let error = within(ours.receive()).await.unwrap_err();
    assert!(matches!(error, Error::EndOfFile(_)), "{error}");
    // What held the arguments for it is gone.
    assert!(manager.list_objects("mp-manager/process/").await.unwrap().is_empty());
}

#[mp_manager::test]
async fn an_end_that_goes_to_a_worker_stays_open_until_its_task_is_done() {
    let pool = within(Pool::new(1)).await.unwrap();
    let manager = pool.manager().unwrap();
    let (ours, theirs) = manager.pipe(Unnamed).await.unwrap().ends();
    let answered = pool.apply_async(answer, (theirs,));
    for x in 1..5_u64 {
        ours.send(x).await.unwrap();
        assert_eq!(within(ours.receive()).await.unwrap(), x * x);
    }
    ours.close().await.unwrap();
    assert_eq!(within(answered.get()).await.unwrap(), 4);
}
