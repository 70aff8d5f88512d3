//! The authkeys that let clients in; they can be replaced while the server runs.

use std::sync::{Arc, Mutex};

use mp_manager_core::v1::Suite;
use mp_manager_proto::{address::Address, authkey::Authkey, suite};
use tokio::{sync::OnceCell, task::JoinError};

use crate::{error::ServeError, lock::lock};

/// Each of them is tried for each client.
pub const MAX_AUTHKEYS: usize = 16;

/// The authkeys of a server.
pub(crate) struct Authkeys {
    address: Address,
    allow_weak: bool,
    server_id: u64,
    current: Mutex<Arc<Current>>,
}

struct Current {
    all: Arc<[Authkey]>,
    /// Those that are accepted as they are.
    plain: Vec<Authkey>,
    /// All of them, stretched when somebody offers that for the first time.
    stretched: OnceCell<Vec<Authkey>>,
}

impl Authkeys {
    pub(crate) fn new(
        authkeys: Vec<Authkey>,
        address: &Address,
        allow_weak: bool,
        server_id: u64,
    ) -> Result<Self, ServeError> {
        let current = Arc::new(current(authkeys, address, allow_weak)?);
        let current = Mutex::new(current);
        Ok(Self { address: address.clone(), allow_weak, server_id, current })
    }

    /// Puts others in their place; on an error the present ones stay.
    pub(crate) fn replace(&self, authkeys: Vec<Authkey>) -> Result<(), ServeError> {
        let current = Arc::new(current(authkeys, &self.address, self.allow_weak)?);
        *lock(&self.current) = current;
        Ok(())
    }

    /// The suite for a client that offers these.
    pub(crate) fn suite(&self, offered: &[i32]) -> Option<Suite> {
        let current = Arc::clone(&lock(&self.current));
        suite::chosen(offered, current.plain.len() < current.all.len())
    }

    /// The secret that a proof was made with. Every one is tried, so that how long it takes says
    /// nothing.
    pub(crate) async fn find(
        &self,
        suite: Suite,
        verify: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Authkey>, JoinError> {
        let current = Arc::clone(&lock(&self.current));
        let secrets = match suite {
            Suite::Argon2idHmacSha256 => current.stretched(self.server_id).await?,
            _ => &current.plain,
        };
        let found = secrets.iter().fold(None, |found, secret| {
            let is_it = verify(secret.secret());
            if is_it { Some(secret) } else { found }
        });
        Ok(found.cloned())
    }
}

impl Current {
    async fn stretched(&self, server_id: u64) -> Result<&Vec<Authkey>, JoinError> {
        let stretch = || {
            let all = Arc::clone(&self.all);
            let stretch = move || all.iter().map(|authkey| authkey.stretched(server_id)).collect();
            tokio::task::spawn_blocking(stretch)
        };
        self.stretched.get_or_try_init(stretch).await
    }
}

fn current(
    authkeys: Vec<Authkey>,
    address: &Address,
    allow_weak: bool,
) -> Result<Current, ServeError> {
    match authkeys.len() {
        0 => return Err(ServeError::NoAuthkey),
        // Whoever is there could prove that they know nothing.
        _ if authkeys.iter().any(|authkey| authkey.secret().is_empty()) => {
            return Err(ServeError::NoAuthkey);
        }
        1..=MAX_AUTHKEYS => {}
        count => return Err(ServeError::TooManyAuthkeys { count, max: MAX_AUTHKEYS }),
    }
    // Whoever is on this machine could as well read our memory, or ask us often.
    let is_accepted = |authkey: &&Authkey| address.is_local() || !authkey.is_weak();
    let plain: Vec<_> = authkeys.iter().filter(is_accepted).cloned().collect();
    if plain.len() < authkeys.len() && !allow_weak {
        return Err(ServeError::WeakAuthkey { address: address.clone() });
    }
    Ok(Current { all: authkeys.into(), plain, stretched: OnceCell::new() })
}
