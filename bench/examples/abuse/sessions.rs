//! Attackers that know the authkey.

use std::{io, net::SocketAddr, time::Duration};

use clap::ValueEnum;
use mp_manager_bench::AUTHKEY;
use mp_manager_proto::v1::{
    ClientFrame, DictOp, DirectoryOp, Empty, Entry, Kind, Open, Request, Value, dict_op,
    directory_op, request,
};
use mp_manager_tests::wire::{self, Wire, frame, kind, path};
use prost::Message;
use tokio::time::{Instant, sleep, sleep_until};

use crate::attacker::{Tally, is_paused, source, under_way};

const SESSIONS: u32 = 1000;
const SESSION: u32 = 3;

pub(crate) static DONE: Tally =
    Tally::new(&["acts", "sessions", "connections lost", "not let in", "acts held up"]);

/// Keeps a thousand sessions, each of which does something hostile so many times in ten seconds.
pub(crate) async fn misbehave(target: SocketAddr, rate: u32, manners: &[Manner]) -> io::Result<()> {
    if manners.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "hostile in which manner?"));
    }
    let every = Duration::from_secs(10) / rate;
    let (started, mut all_started) = tokio::sync::mpsc::unbounded_channel();
    for n in 0..SESSIONS {
        let (started, manner) = (started.clone(), manners[n as usize % manners.len()]);
        tokio::spawn(async move {
            let mut next = Instant::now() + every * n / SESSIONS;
            loop {
                sleep_until(next).await;
                if is_paused() {
                    next += every;
                    continue;
                }
                match Hostile::start(target, n, manner).await {
                    Ok(mut hostile) => {
                        DONE.count("sessions");
                        let _ = started.send(());
                        hostile.act_until_cut_off(every).await;
                        DONE.count("connections lost");
                    }
                    Err(_) => DONE.count("not let in"),
                }
                next = Instant::now() + every;
            }
        });
        sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..SESSIONS {
        all_started.recv().await;
    }
    under_way();
    std::future::pending().await
}

struct Hostile {
    wire: Wire,
    manner: Manner,
    acts: u32,
    number: u64,
    seq: u64,
    stream: u32,
    /// What has not been sent yet, of a frame that was begun.
    unsent: Vec<u8>,
}

/// In which way it is hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Manner {
    /// Begins calls and gives them up at once.
    Reset,
    /// Sends frames without anything in them.
    Empty,
    /// Sends more in one frame than is allowed.
    Oversized,
    /// Asks and asks and never reads.
    NeverReading,
    /// Sends what is not even a frame.
    Garbage,
    /// Does nothing wrong, but much: sends as much in one frame as is allowed.
    Busy,
}

impl Manner {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Hostile {
    async fn start(target: SocketAddr, n: u32, manner: Manner) -> io::Result<Self> {
        let mut wire = Wire::connect(target, Some(source(n))).await?;
        wire.authenticate(AUTHKEY).await?;
        wire.send(&wire::call(SESSION, path::SESSION)).await?;
        let stream = SESSION;
        let mut hostile =
            Self { wire, manner, acts: 0, number: 0, seq: 0, stream, unsent: Vec::new() };
        if manner == Manner::NeverReading {
            let first = hostile.large_value();
            hostile.wire.send(&first).await?;
        }
        Ok(hostile)
    }

    async fn act_until_cut_off(&mut self, every: Duration) {
        loop {
            if !is_paused() && self.act_once().is_err() {
                return;
            }
            let next = Instant::now() + every;
            if self.manner == Manner::NeverReading {
                sleep_until(next).await;
                continue;
            }
            loop {
                tokio::select! {
                    received = self.wire.next() => match received {
                        Ok(Some(_)) => {}
                        Ok(None) | Err(_) => return,
                    },
                    () = sleep_until(next) => break,
                }
            }
        }
    }

    /// Acts, unless what was said earlier has not been sent yet.
    fn act_once(&mut self) -> io::Result<()> {
        DONE.count("acts");
        self.acts += 1;
        if self.unsent.is_empty() {
            self.unsent = self.act();
        } else {
            DONE.count("acts held up");
        }
        match self.wire.try_send(&self.unsent) {
            Ok(sent) => drop(self.unsent.drain(..sent)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn act(&mut self) -> Vec<u8> {
        match self.manner {
            Manner::Reset => {
                self.stream += 2;
                let path =
                    [path::SESSION, path::KEEP_ALIVE, path::REFLECTION][self.acts as usize % 3];
                [wire::call(self.stream, path), wire::reset(self.stream)].concat()
            }
            Manner::Empty if self.acts.is_multiple_of(2) => {
                frame(kind::DATA, 0, SESSION, &[]).repeat(20)
            }
            Manner::Empty => (0..20).flat_map(|_| self.frame(Vec::new())).collect(),
            Manner::Oversized => self.pings(1025),
            Manner::Busy => self.pings(1024),
            Manner::NeverReading => {
                let get = || request::Op::Dict(DictOp { op: Some(dict_op::Op::Get(KEY.into())) });
                let requests = (0..100).map(|_| self.request(1, get())).collect();
                self.frame(requests)
            }
            Manner::Garbage => {
                let garbage = [0xa5, 0x17, 0xff, 0x00, 0x80].repeat(20);
                frame(kind::DATA, 0, SESSION, &garbage)
            }
        }
    }

    /// Inserts something large into the first object of the server, which is a dict: one of an
    /// ordinary client's, or the one that is opened here.
    fn large_value(&mut self) -> Vec<u8> {
        let name = Some("large".to_owned());
        let open = Open { name, kind: Kind::Dict.into(), ..Open::default() };
        let open = DirectoryOp { op: Some(directory_op::Op::Open(open)) };
        let value = Some(Value { data: vec![0xc0; 8000].into(), refs: Vec::new() });
        let insert = dict_op::Op::Insert(Entry { key: KEY.into(), value });
        let insert = DictOp { op: Some(insert) };
        let requests = vec![
            self.request(0, request::Op::Directory(open)),
            self.request(1, request::Op::Dict(insert)),
        ];
        self.frame(requests)
    }

    fn pings(&mut self, count: usize) -> Vec<u8> {
        let ping = || DirectoryOp { op: Some(directory_op::Op::Ping(Empty {})) };
        let requests = (0..count).map(|_| self.request(0, request::Op::Directory(ping())));
        let requests = requests.collect();
        self.frame(requests)
    }

    fn request(&mut self, object: u64, op: request::Op) -> Request {
        self.seq += 1;
        Request { seq: self.seq, object, op: Some(op), ..Request::default() }
    }

    /// A frame with these requests, cut into HTTP/2's.
    fn frame(&mut self, requests: Vec<Request>) -> Vec<u8> {
        self.number += 1;
        let frame = ClientFrame { number: self.number, requests, ..ClientFrame::default() };
        let message = frame.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let bytes = [&[0][..], &length.to_be_bytes(), &message].concat();
        bytes.chunks(16 << 10).flat_map(|part| self::frame(kind::DATA, 0, SESSION, part)).collect()
    }
}

/// `"k"`
const KEY: &[u8] = &[0xa1, b'k'];
