//! Which members may be picked.

use super::PickRequest;
use crate::dispatcher::{ClusterView, Member, MemberIndex};

/// The members of a view that a request may go to: not tried yet, not draining, and not ejected.
///
/// When all that are left are ejected, ejection is ignored: a member that may fail is better than none.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    view: &'a ClusterView,
    request: &'a PickRequest<'a>,
    /// Ejection is ignored.
    panic: bool,
}

impl<'a> Candidates<'a> {
    /// Looks at the members of a view.
    #[must_use]
    pub fn new(view: &'a ClusterView, request: &'a PickRequest<'a>) -> Self {
        let calm = Self { view, request, panic: false };
        let panic = (0..calm.places()).all(|place| calm.at(place).is_none());
        Self { panic, ..calm }
    }

    /// Returns how many places there are to look at, not all of which hold a candidate.
    #[must_use]
    pub fn places(&self) -> usize {
        self.view.members().len()
    }

    /// Returns the candidate at a place.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<(MemberIndex, &'a Member)> {
        let index = MemberIndex(place);
        let member = self.view.get(index)?;
        let may_be = (self.panic || !member.is_ejected(self.request.now))
            && !member.is_draining()
            && !self.request.tried.contains(&index);
        may_be.then_some((index, &**member))
    }

    /// Returns all candidates, from a place on, each once.
    pub fn starting_at(self, place: usize) -> impl Iterator<Item = (MemberIndex, &'a Member)> {
        let places = self.places();
        let start = place.checked_rem(places).unwrap_or_default();
        (start..places).chain(0..start).filter_map(move |place| self.at(place))
    }
}
