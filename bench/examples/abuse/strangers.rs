//! Attackers that do not know the authkey.

use std::{io, net::SocketAddr, time::Duration};

use mp_manager_proto::v1::{HandshakeRequest, Reason, handshake_request::Step};
use mp_manager_tests::{
    raw::hello,
    wire::{self, Wire, frame, kind, path},
};
use tokio::{sync::Semaphore, time::sleep};

use crate::{
    attacker::{Tally, source, under_way},
    kind::Kind,
};

pub(crate) static OPENED: Tally = Tally::new(&["opened", "not opened"]);
pub(crate) static LOGINS: Tally =
    Tally::new(&["wrong keys refused", "turned away in words", "turned away", "not connected"]);

/// How many logins may be under way at a time.
static LOGINS_AT_A_TIME: Semaphore = Semaphore::const_new(2000);

/// Opens so many connections that do not get in, and opens another for each that is closed.
pub(crate) async fn stay(kind: Kind, target: SocketAddr, connections: u32) -> io::Result<()> {
    let (opened, mut all_opened) = tokio::sync::mpsc::unbounded_channel();
    for n in 0..connections {
        let opened = opened.clone();
        tokio::spawn(async move {
            loop {
                match open(kind, target, n).await {
                    Ok(mut wire) => {
                        OPENED.count("opened");
                        let _ = opened.send(());
                        if kind == Kind::Greedy {
                            std::future::pending::<()>().await;
                        }
                        wire.closed().await;
                    }
                    Err(_) => {
                        OPENED.count("not opened");
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        });
        if n % 50 == 49 {
            sleep(Duration::from_millis(10)).await;
        }
    }
    for _ in 0..connections {
        all_opened.recv().await;
    }
    under_way();
    std::future::pending().await
}

async fn open(kind: Kind, target: SocketAddr, n: u32) -> io::Result<Wire> {
    let mut wire = Wire::connect(target, Some(source(n))).await?;
    match kind {
        Kind::Preface => wire.begin().await?,
        Kind::HalfOpen if n.is_multiple_of(2) => wire.begin().await?,
        Kind::Hello => {
            let step = Some(Step::Hello(hello()));
            let call = wire::call(1, path::HANDSHAKE);
            let hello = wire::message(1, &HandshakeRequest { step });
            wire.begin().await?;
            wire.send(&[call, hello].concat()).await?;
        }
        Kind::Greedy => be_greedy(&mut wire).await?,
        _ => {}
    }
    Ok(wire)
}

/// Asks for the service's description, as often as it may and without ever reading it; and then says
/// what nobody will read.
async fn be_greedy(wire: &mut Wire) -> io::Result<()> {
    const MAX: u32 = (1 << 31) - 1;
    const CALLS: u32 = 2;
    let settings = [&[0, 4][..], &MAX.to_be_bytes()].concat();
    let windows = [frame(kind::SETTINGS, 0, 0, &settings), wire::window_update(0, MAX - (1 << 16))];
    let mut asked = [wire::PREFACE, &windows.concat()].concat();
    // In the field `file_containing_symbol`.
    let symbol = b"mp.manager.v1.Manager";
    let question = [&[0, 0, 0, 0, 23, 0x22, 21][..], symbol].concat();
    let streams = (0..CALLS).map(|n| 1 + 2 * n);
    for stream in streams.clone() {
        asked.extend_from_slice(&wire::call(stream, path::REFLECTION));
    }
    for _ in 0..100 {
        for stream in streams.clone() {
            asked.extend_from_slice(&frame(kind::DATA, 0, stream, &question.repeat(500)));
        }
    }
    let mut sent = 0;
    for _ in 0..50 {
        match wire.try_send(&asked[sent..]) {
            Ok(n) => sent += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep(Duration::from_millis(10)).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Tries to log in with a wrong authkey so many times a second.
pub(crate) async fn log_in(target: SocketAddr, rate: u32) -> io::Result<()> {
    under_way();
    at_rate(rate, |n| {
        tokio::spawn(async move {
            let Ok(_place) = LOGINS_AT_A_TIME.try_acquire() else { return };
            LOGINS.count(log_in_once(target, n).await);
        });
    })
    .await;
    Ok(())
}

async fn log_in_once(target: SocketAddr, n: u32) -> &'static str {
    let mut wire = match Wire::connect(target, Some(source(n))).await {
        Ok(wire) => wire,
        // So fast that the system tells both at once.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return "turned away",
        Err(_) => return "not connected",
    };
    // Otherwise there will soon be no ports left.
    let _ = wire.stream().set_zero_linger();
    match wire.try_to_authenticate("a wrong authkey").await {
        Ok(Err(refusal)) if refusal.reason() == Reason::AuthenticationFailed => {
            "wrong keys refused"
        }
        Ok(_) => "turned away in words",
        Err(_) => "turned away",
    }
}

/// Does something so many times a second.
async fn at_rate(rate: u32, mut act: impl FnMut(u32)) {
    const TICK: Duration = Duration::from_millis(2);
    let mut ticks = tokio::time::interval(TICK);
    let (start, mut done) = (tokio::time::Instant::now(), 0);
    loop {
        ticks.tick().await;
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u32;
        // An attacker that did not run for a while does not catch up all at once.
        done = done.max(due.saturating_sub(rate / 10));
        while done < due {
            act(done);
            done += 1;
        }
    }
}
