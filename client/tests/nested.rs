//! Tasks that wait for tasks of their own pool.

use std::time::Duration;

use mp_manager::{Error, Manager, Pool, Result, TaskFailure, task};

const LONG: Duration = Duration::from_secs(100);

async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(LONG, future).await.expect("it hangs")
}

#[task]
fn inner(x: u64) -> u64 {
    x + 1
}

#[task]
async fn outer(pool: String, x: u64) -> Result<u64> {
    let pool = Pool::open(&Manager::current().await?, &pool).await?;
    Ok(pool.map(inner, [x, x + 10]).await?.into_iter().sum())
}

#[mp_manager::test]
async fn tasks_of_which_each_waits_for_others_end_in_a_deadlock() {
    let pool = within(Pool::builder().processes(1).name("full").start()).await.unwrap();
    let error = within(pool.apply(outer, ("full".into(), 1))).await.unwrap_err();
    let Error::TaskFailed(failed) = &error else { panic!("{error}") };
    let TaskFailure::Failed { chain } = failed.failure() else { panic!("{error}") };
    let text = chain.join(": ");
    assert!(text.contains("outer waits for ") && text.contains("inner"), "{text}");
    assert!(text.contains("a second pool"), "{text}");
    // The worker goes on.
    assert_eq!(within(pool.apply(inner, (1,))).await.unwrap(), 2);
}

#[mp_manager::test]
async fn tasks_may_wait_for_others_while_a_worker_is_free() {
    let pool = within(Pool::builder().processes(2).name("free").start()).await.unwrap();
    assert_eq!(within(pool.apply(outer, ("free".into(), 1))).await.unwrap(), 14);
}

#[mp_manager::test]
async fn of_many_tasks_that_wait_for_others_some_succeed() {
    let pool = within(Pool::builder().processes(2).name("some").start()).await.unwrap();
    let inputs = (0..20).map(|x| ("some".to_owned(), x));
    let results = within(pool.starmap(outer, inputs).chunk_size(1).results()).await.unwrap();
    for (x, result) in (0..).zip(results) {
        match result {
            Ok(sum) => assert_eq!(sum, 2 * x + 12),
            Err(failure) => assert!(failure.to_string().contains("every worker"), "{failure}"),
        }
    }
}
