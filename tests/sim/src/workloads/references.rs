//! Objects without names, which live as long as somebody refers to them.

use mp_manager::{Dict, Error, Unnamed, Value};

use super::Context;
use crate::invariants::objects::PARCELS;

/// Puts objects where others find them, and looks at what others have put there.
pub(super) async fn exchange(my: Context, rounds: u64) {
    let parcels: Dict<u64, Value<u64>> = my.open(|manager| manager.dict(PARCELS).open()).await;
    for number in 0..rounds * 2 {
        my.pause().await;
        let key = ((my.process as u64) << 32) | number;
        let created = my.patiently(my.manager.value(Unnamed, &key).open()).await;
        if let Some(value) = created.and_then(|result| my.expect("open", result)) {
            let session = my.sessions.get();
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
                my.pause().await;
            }
            look(&my, key, session, &value).await;
        }
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
