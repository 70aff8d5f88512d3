//! Who performs heavy steps, and how many at a time: threads that may take their time, and for no session more
//! than a few of them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
};

use mp_manager_core::{SessionId, engine::Step};

use crate::lock::lock;

/// Heavy steps of one session that are performed at a time; the others have their turn after them.
const PER_SESSION: usize = 4;
/// Heavy steps of all sessions that are performed at a time.
const IN_ALL: usize = 32;

/// The heavy steps that are being performed, and those that wait.
#[derive(Default)]
pub(crate) struct Lanes(Mutex<State>);

#[derive(Default)]
struct State {
    running: usize,
    sessions: BTreeMap<SessionId, Lane>,
    /// Sessions that have steps that wait, and may have one performed: each in its turn.
    turns: VecDeque<SessionId>,
}

#[derive(Default)]
struct Lane {
    running: usize,
    waiting: VecDeque<Step>,
    has_turn: bool,
}

impl Lanes {
    /// Takes a heavy step in: it comes back if it is to be performed now, with the session that it
    /// [counts](Self::next) for.
    pub(crate) fn enter(&self, step: Step) -> Option<(SessionId, Step)> {
        // What nobody's session has brought about is as if it were one's.
        let session = step.session().unwrap_or_default();
        let mut state = lock(&self.0);
        state.sessions.entry(session).or_default().waiting.push_back(step);
        state.give_turn(session);
        state.next()
    }

    /// A step of this session was performed: the next one that is to be.
    pub(crate) fn next(&self, performed: SessionId) -> Option<(SessionId, Step)> {
        let mut state = lock(&self.0);
        state.running -= 1;
        if let Some(lane) = state.sessions.get_mut(&performed) {
            lane.running -= 1;
            if lane.running == 0 && lane.waiting.is_empty() {
                state.sessions.remove(&performed);
            }
        }
        state.give_turn(performed);
        state.next()
    }
}

impl State {
    fn give_turn(&mut self, session: SessionId) {
        let Some(lane) = self.sessions.get_mut(&session) else { return };
        if !lane.has_turn && !lane.waiting.is_empty() && lane.running < PER_SESSION {
            lane.has_turn = true;
            self.turns.push_back(session);
        }
    }

    fn next(&mut self) -> Option<(SessionId, Step)> {
        if self.running == IN_ALL {
            return None;
        }
        let session = self.turns.pop_front()?;
        let lane = self.sessions.get_mut(&session)?;
        lane.has_turn = false;
        let step = lane.waiting.pop_front()?;
        lane.running += 1;
        self.running += 1;
        self.give_turn(session);
        Some((session, step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which sessions' steps are performed when one of each of these has come, and what else is while they go
    /// on, one after the other.
    fn performed(lanes: &Lanes, sessions: impl IntoIterator<Item = SessionId>) -> Vec<SessionId> {
        let steps = sessions.into_iter().map(Step::Wake);
        steps.filter_map(|step| lanes.enter(step)).map(|(session, _)| session).collect()
    }

    #[test]
    fn a_session_has_a_few_steps_performed_at_a_time_and_keeps_nobody_else_waiting() {
        let lanes = Lanes::default();
        assert_eq!(performed(&lanes, [7; 100]), [7; PER_SESSION]);
        assert_eq!(performed(&lanes, [8, 9]), [8, 9]);
        assert_eq!(lanes.next(8).map(|(session, _)| session), None);
        assert_eq!(lanes.next(7).map(|(session, _)| session), Some(7));
    }

    #[test]
    fn sessions_take_turns_when_all_threads_are_taken() {
        let lanes = Lanes::default();
        let many = (1..=IN_ALL as u64).collect::<Vec<_>>();
        assert_eq!(performed(&lanes, many.clone()), many);
        assert_eq!(performed(&lanes, [50, 50, 50, 60]), []);
        let next: Vec<_> =
            (1..=4).map(|done| lanes.next(done).map(|(session, _)| session)).collect();
        assert_eq!(next, [Some(50), Some(60), Some(50), Some(50)]);
    }

    #[test]
    fn nothing_is_kept_of_a_session_whose_steps_were_performed() {
        let lanes = Lanes::default();
        performed(&lanes, [7; 6]);
        for _ in 0..6 {
            let _ = lanes.next(7);
        }
        let state = lock(&lanes.0);
        assert!(state.sessions.is_empty() && state.turns.is_empty() && state.running == 0);
    }
}
