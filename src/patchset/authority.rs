//! Who may move what: a From field is never enough where the earlier mail was authenticated.

use crate::verdict::{Level, Standing};

/// Whether the domain in From speaks for the sender; all else is a claim.
pub(super) fn is_sure(standing: &Standing) -> bool {
    standing.level == Level::Aligned
}

/// Whether a later mail of the same address is authenticated at least as well as the earlier one.
pub(super) fn is_as_sure(later: bool, earlier: bool) -> bool {
    later || !earlier
}

/// Whether trailers of a reply count for a patch, rather than being shown as a claim: the reply's sender must be
/// authenticated at least as well as the patch's.
pub fn may_add_trailers(reply: Level, patch: Level) -> bool {
    is_as_sure(reply == Level::Aligned, patch == Level::Aligned)
}
