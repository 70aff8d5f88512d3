//! Objects without names, which live as long as somebody refers to them.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use mp_manager::{Dict, Error, Unnamed, Value};

use super::Context;
use crate::invariants::objects::PARCELS;

/// Puts objects where others find them, and looks at what others have put there.
pub(super) async fn exchange(my: Context, rounds: u64) {
    let parcels: Dict<u64, Value<u64>> = my.open(|manager| manager.dict(PARCELS).open()).await;
    for number in 0..rounds * 2 {
        my.pause().await;
        let key = ((my.process as u64) << 32) | number;
        // Its session may be over before the answer is looked at.
        let session = my.sessions.get();
        let created = my.patiently(my.manager.value(Unnamed, &key).open()).await;
        if let Some(value) = created.and_then(|result| my.expect("open", result)) {
            if my.world.one_in(2) {
                my.pause().await;
            }
            match my.patiently(parcels.insert(&key, &value)).await {
                // Its session may be over, and the object with it.
                Some(Err(Error::ObjectNotFound(_))) if my.sessions.get() != session => {}
                result => _ = result.map(|result| my.expect("insert", result)),
            }
            if my.world.one_in(2) {
                look(&my, key, session, &value).await;
            }
            if my.world.one_in(4) {
                // It goes with its last reference, and lets go of what is in it.
                let inner = my.patiently(my.manager.dict(Unnamed).open()).await;
                let inner: Option<Dict<u64, Value<u64>>> =
                    inner.and_then(|opened| my.expect("open", opened));
                if let Some(inner) = inner {
                    match my.patiently(inner.insert(&key, &value)).await {
                        Some(Err(Error::ObjectNotFound(_))) if my.sessions.get() != session => {}
                        result => _ = result.map(|result| my.expect("insert", result)),
                    }
                }
            }
        }
        my.pause().await;
        let key = (my.world.below(4) << 32) | my.world.below(rounds * 2);
        let session = my.sessions.get();
        let found = match my.world.below(3) {
            0 => my.patiently(parcels.get(&key)).await.map(|r| r.map(|v| v.map(|v| (key, v)))),
            1 => my.patiently(parcels.remove(&key)).await.map(|r| r.map(|v| v.map(|v| (key, v)))),
            _ => my.patiently(parcels.pop_item()).await,
        };
        let found = found.and_then(|result| my.expect("take", result)).flatten();
        if let Some((key, value)) = found {
            if my.world.one_in(2) {
                take_over(&my, &parcels, key, session, value).await;
                continue;
            }
            if my.world.one_in(2) {
                my.pause().await;
            }
            look(&my, key, session, &value).await;
        }
    }
}

/// Lets go of an object while another reference to it is on its way, which is the only one then.
async fn take_over(
    my: &Context,
    parcels: &Dict<u64, Value<u64>>,
    key: u64,
    session: u64,
    value: Value<u64>,
) {
    match parcels.insert(&key, &value).await {
        Err(Error::ObjectNotFound(_)) if my.sessions.get() != session => return,
        result => _ = my.expect("insert", result),
    }
    let mut remove = pin!(parcels.remove(&key));
    let early = poll_fn(|cx| Poll::Ready(remove.as_mut().poll(cx))).await;
    let removed = match early {
        Poll::Ready(removed) => removed,
        Poll::Pending => {
            let longest = *my.world.pick(&[100, 1_000, 10_000]).unwrap_or(&100);
            my.sleep(my.world.below(longest)).await;
            drop(value);
            remove.await
        }
    };
    if let Some(value) = my.expect("remove", removed).flatten() {
        my.pause().await;
        look(my, key, session, &value).await;
    }
}

/// As long as its session goes on, whoever refers to an object finds it, and what was put into it.
async fn look(my: &Context, key: u64, session: u64, value: &Value<u64>) {
    match my.patiently(value.get()).await {
        Some(Ok(found)) if found == key => {}
        Some(Ok(found)) => {
            let error = format!("{found} is in the object that {key} was put into");
            my.oracle.borrow_mut().calls.failed(my.process, "get", &error);
        }
        Some(Err(Error::ObjectNotFound(_))) if my.sessions.get() != session => {}
        result => _ = result.map(|result| my.expect("get by reference", result)),
    }
}
