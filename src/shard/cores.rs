//! Which cores shards may run on, and pinning. Respects the affinity mask, and with it the cgroup's
//! cpuset, which the kernel folds into it.

use core_affinity::CoreId;

/// The cores this process may use, lowest first; at least one entry. Read once, before any pinning:
/// a pinned thread sees only its own core.
pub fn allowed() -> Vec<Core> {
    let mut cores: Vec<Core> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(Core).collect();
    if cores.is_empty() {
        cores.push(Core(CoreId { id: 0 }));
    }
    cores
}

/// One core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Core(CoreId);

impl Core {
    pub const fn number(self) -> usize {
        self.0.id
    }

    /// Binds the calling thread to this core; false where the host does not let it.
    pub fn pin(self) -> bool {
        core_affinity::set_for_current(self.0)
    }
}
