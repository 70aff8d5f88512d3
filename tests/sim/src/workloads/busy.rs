//! Objects that heavy operations take away for a while.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use mp_manager::{Error, Fence, List, LockGuard, Set};

use super::Context;

const LIST: &str = "numbers";
const SETS: [&str; 2] = ["left", "right"];
/// In the number of an item that is pushed together with another.
const SECOND: u64 = 1 << 15;

/// Adds numbers to a list and to sets, while it is sorted and they are combined.
pub(super) async fn sort_and_combine(my: Context, task: u64, rounds: u64) {
    let list: List<u64> = my.open(|manager| manager.list(LIST).open()).await;
    let lock = my.open(|manager| manager.lock("list lock").open()).await;
    let sets: [Set<u64>; 2] = [
        my.open(|manager| manager.set(SETS[0]).open()).await,
        my.open(|manager| manager.set(SETS[1]).open()).await,
    ];
    for number in 0..rounds * 4 {
        if !my.world.one_in(3) {
            my.pause().await;
        }
        let item = ((my.process as u64) << 32) | (task << 16) | number;
        let which = usize::from(my.world.one_in(2));
        match my.world.below(9) {
            0 | 1 => push(&my, &list, item, None).await,
            2 => {
                let Some(guard) = my.expect("acquire", lock.acquire().await) else { continue };
                if my.world.one_in(2) {
                    push(&my, &list, item, Some(Fence::from(&guard))).await;
                } else {
                    push_two(&my, &list, item, &guard).await;
                }
            }
            3 => _ = my.patiently(list.sort()).await.map(|result| my.expect("sort", result)),
            4 => _ = my.patiently(list.reverse()).await.map(|result| my.expect("reverse", result)),
            5 => find(&my, &list).await,
            6 | 7 => {
                let added = my.patiently(sets[which].add(&item)).await;
                if added.and_then(|result| my.expect("add", result)).is_some() {
                    my.oracle.borrow_mut().elements.added(SETS[which], item);
                }
            }
            _ => {
                let expected = my.oracle.borrow().elements.of(SETS[1 - which]);
                let extended = my.patiently(sets[which].extend(&sets[1 - which])).await;
                if extended.and_then(|result| my.expect("extend", result)).is_some() {
                    let mut oracle = my.oracle.borrow_mut();
                    expected.into_iter().for_each(|item| oracle.elements.added(SETS[which], item));
                }
            }
        }
    }
    my.sleep_until(my.times.settled_from).await;
    for (name, set) in SETS.iter().zip(&sets) {
        let expected = my.oracle.borrow().elements.of(name);
        if let Some(found) = my.expect("copy", set.copy::<Vec<u64>>().await) {
            my.oracle.borrow_mut().elements.found(name, &expected, &found, false);
        }
    }
    let expected = my.oracle.borrow().elements.of(LIST);
    if let Some(found) = my.expect("copy", list.copy().await) {
        my.oracle.borrow_mut().elements.found(LIST, &expected, &found, true);
    }
}

async fn push(my: &Context, list: &List<u64>, item: u64, fence: Option<Fence>) {
    let pushed = match fence {
        None => my.patiently(list.push(item)).await,
        // Many values take long, and some managers take one for many.
        Some(fence) if my.world.one_in(2) => {
            let list = list.fenced(fence);
            my.patiently(list.extend([item])).await
        }
        Some(fence) => {
            let list = list.fenced(fence);
            my.patiently(list.push(item)).await
        }
    };
    match pushed {
        Some(Ok(())) => my.oracle.borrow_mut().elements.added(LIST, item),
        Some(Err(Error::Fenced(_))) => my.oracle.borrow_mut().elements.refused(LIST, item),
        result => _ = result.map(|result| my.expect("push", result)),
    }
}

/// Pushes two at once, while a grant stands.
async fn push_two(my: &Context, list: &List<u64>, item: u64, guard: &LockGuard) {
    let list = list.fenced(Fence::from(guard));
    let second = item | SECOND;
    let mut extend = pin!(list.extend([item]));
    let early = poll_fn(|cx| Poll::Ready(extend.as_mut().poll(cx))).await;
    let pushed = list.push(second).await;
    let extended = match early {
        Poll::Ready(extended) => extended,
        Poll::Pending => extend.await,
    };
    for (item, result) in [(item, extended), (second, pushed)] {
        match result {
            Ok(()) => my.oracle.borrow_mut().elements.added(LIST, item),
            Err(Error::Fenced(_)) => {
                my.oracle.borrow_mut().elements.refused(LIST, item);
                // Whoever has lost the grant knows it once the manager has answered.
                if my.manager.ping().await.is_ok() && !guard.is_lost() {
                    let error = "it was refused, and the grant stands";
                    my.oracle.borrow_mut().calls.failed(my.process, "fenced push", error);
                }
            }
            result => _ = my.expect("push", result),
        }
    }
}

async fn find(my: &Context, list: &List<u64>) {
    let known = my.oracle.borrow().elements.of(LIST);
    let Some(item) = my.world.pick(&known) else { return };
    let found = my.patiently(list.contains(item)).await;
    if found.and_then(|result| my.expect("contains", result)) == Some(false) {
        my.oracle.borrow_mut().elements.found(LIST, &[*item], &[], true);
    }
}
