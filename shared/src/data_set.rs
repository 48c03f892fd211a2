//! Data sets: saves over services that are restored as one. All are looked at, all are restored beside their databases, and only
//! then they are swapped in, one after another; where one cannot be, those before it are swapped back in the reverse order.

use serde::{Deserialize, Serialize};

words! {
    /// How far the restore of a data set is.
    RestoreState {
        /// It is looked whether each could be restored.
        Checking = "checking",
        /// It was a dry run: each could be restored.
        Checked = "checked",
        /// Each is restored beside its database.
        Staging = "staging",
        /// One after another takes the place of its database.
        Swapping = "swapping",
        /// All are in their places; the services' queues are purged.
        Purging = "purging",
        Succeeded = "succeeded",
        /// Nothing was swapped: every database is as it was.
        Failed = "failed",
        /// One after another is swapped back, the last first.
        Undoing = "undoing",
        /// What was swapped was swapped back.
        Undone = "undone",
        /// Some are in their places and some are not, and there was no way on nor back. A person resumes or undoes it.
        PartlySwapped = "partly_swapped",
    }
}

impl RestoreState {
    /// Whether it goes on by itself.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Checking | Self::Staging | Self::Swapping | Self::Undoing | Self::Purging)
    }

    /// Whether what is not in its place can be swapped in now.
    #[must_use]
    pub const fn may_resume(self) -> bool {
        matches!(self, Self::PartlySwapped | Self::Undone)
    }

    /// Whether what is in its place can be swapped back now.
    #[must_use]
    pub const fn may_undo(self) -> bool {
        matches!(self, Self::PartlySwapped | Self::Succeeded)
    }
}

words! {
    /// Where the database of one target stands.
    MemberState {
        /// As it was.
        Waiting = "waiting",
        /// As it was; the save is restored beside it.
        Staged = "staged",
        /// The save is in its place.
        Swapped = "swapped",
        /// As it was, after it was swapped; the save is beside it again.
        Back = "back",
    }
}

words! {
    /// What is under way with one target.
    Doing {
        Check = "check",
        Stage = "stage",
        Swap = "swap",
        Undo = "undo",
    }
}

/// One target, as far as it decides what is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub state: MemberState,
    /// Whether a job of it has still to end.
    pub is_busy: bool,
    /// Whether its latest job failed.
    pub has_failed: bool,
    /// Whether something made way for it, that can be swapped back.
    pub has_outgoing: bool,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Jobs run, or a person decides.
    Wait,
    /// This part is over, and that one begins.
    Enter(RestoreState),
    /// This one is swapped in.
    Swap(usize),
    /// This one is swapped back.
    Undo(usize),
}

/// What is next, by where each stands. Purging ends when its jobs have, which is not seen here.
#[must_use]
pub fn next(state: RestoreState, dry_run: bool, members: &[Member]) -> Next {
    if !state.is_open() || members.iter().any(|member| member.is_busy) {
        return Next::Wait;
    }
    let failed = members.iter().any(|member| member.has_failed);
    let is_in = |member: &Member| member.state == MemberState::Swapped;
    match state {
        RestoreState::Checking | RestoreState::Staging if failed => Next::Enter(RestoreState::Failed),
        RestoreState::Checking if dry_run => Next::Enter(RestoreState::Checked),
        RestoreState::Checking => Next::Enter(RestoreState::Staging),
        RestoreState::Staging => Next::Enter(RestoreState::Swapping),
        RestoreState::Swapping if failed => Next::Enter(RestoreState::Undoing),
        RestoreState::Swapping => match members.iter().position(|member| !is_in(member)) {
            Some(index) => Next::Swap(index),
            None => Next::Enter(RestoreState::Purging),
        },
        // One that could not be swapped back is in its place still; one that could not be swapped in is not.
        RestoreState::Undoing if members.iter().any(|member| is_in(member) && member.has_failed) => {
            Next::Enter(RestoreState::PartlySwapped)
        }
        RestoreState::Undoing => match members.iter().rposition(|member| is_in(member) && member.has_outgoing) {
            Some(index) => Next::Undo(index),
            None => Next::Enter(RestoreState::Undone),
        },
        _ => Next::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::{MemberState::*, RestoreState::*, *};

    fn member(state: MemberState) -> Member {
        Member { state, is_busy: false, has_failed: false, has_outgoing: state == Swapped }
    }

    /// Does what is next until a state that goes on no more; `fails` says which steps do. Answers all steps.
    fn run(members: &mut [Member], mut state: RestoreState, fails: impl Fn(Next) -> bool) -> (RestoreState, Vec<Next>) {
        let mut steps = Vec::new();
        while state.is_open() && state != Purging {
            let step = next(state, false, members);
            steps.push(step);
            match step {
                Next::Wait => panic!("nothing is under way in {state}"),
                Next::Enter(new) => {
                    if new == Swapping {
                        for one in members.iter_mut() {
                            one.state = Staged;
                        }
                    }
                    state = new;
                }
                Next::Swap(index) | Next::Undo(index) if fails(step) => members[index].has_failed = true,
                Next::Swap(index) => members[index] = member(Swapped),
                Next::Undo(index) => members[index] = member(Back),
            }
        }
        (state, steps)
    }

    #[test]
    fn all_are_looked_at_and_staged_before_one_is_swapped() {
        let mut members = [member(Waiting); 3];
        let (state, steps) = run(&mut members, Checking, |_| false);
        let order = [
            Next::Enter(Staging),
            Next::Enter(Swapping),
            Next::Swap(0),
            Next::Swap(1),
            Next::Swap(2),
            Next::Enter(Purging),
        ];
        assert_eq!((state, steps.as_slice()), (Purging, order.as_slice()));
    }

    #[test]
    fn whichever_swap_fails_those_before_it_go_back_in_reverse_order() {
        for at in 0..4 {
            let mut members = [member(Waiting); 4];
            let (state, steps) = run(&mut members, Checking, |step| step == Next::Swap(at));
            assert_eq!(state, Undone);
            let undone: Vec<_> = steps.iter().filter(|step| matches!(step, Next::Undo(_))).copied().collect();
            assert_eq!(undone, (0..at).rev().map(Next::Undo).collect::<Vec<_>>());
            assert!(members.iter().all(|one| one.state != Swapped));
        }
    }

    #[test]
    fn where_there_is_no_way_back_either_it_is_partly_swapped_and_stays_so() {
        let mut members = [member(Waiting); 3];
        let (state, _) = run(&mut members, Checking, |step| matches!(step, Next::Swap(2) | Next::Undo(0)));
        assert_eq!(state, PartlySwapped);
        assert_eq!(members.map(|one| one.state), [Swapped, Back, Staged]);
        assert_eq!(next(state, false, &members), Next::Wait);
        // A person resumes it: what failed is forgotten, and those that are missing come in.
        for one in &mut members {
            one.has_failed = false;
        }
        let (state, steps) = run(&mut members, Swapping, |_| false);
        assert_eq!(
            (state, steps.as_slice()),
            (Purging, [Next::Swap(1), Next::Swap(2), Next::Enter(Purging)].as_slice())
        );
    }

    #[test]
    fn nothing_is_next_while_a_job_runs_and_what_fails_before_the_swaps_fails_it_all() {
        let mut members = [member(Waiting); 2];
        members[1].is_busy = true;
        members[0].has_failed = true;
        for state in [Checking, Staging, Swapping, Undoing] {
            assert_eq!(next(state, false, &members), Next::Wait, "{state}");
        }
        members[1].is_busy = false;
        for state in [Checking, Staging] {
            assert_eq!(next(state, false, &members), Next::Enter(Failed), "{state}");
        }
        assert_eq!(next(Checking, true, &[member(Waiting)]), Next::Enter(Checked));
    }

    #[test]
    fn where_nothing_made_way_there_is_nothing_to_swap_back() {
        let mut members = [member(Swapped), member(Swapped)];
        members[1].has_outgoing = false;
        let (state, steps) = run(&mut members, Undoing, |_| false);
        assert_eq!((state, steps.as_slice()), (Undone, [Next::Undo(0), Next::Enter(Undone)].as_slice()));
    }
}
