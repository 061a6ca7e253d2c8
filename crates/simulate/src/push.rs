//! Where pushes come from: Apple's service, or a stand-in.

use tokio::sync::mpsc::UnboundedSender;

/// Delivers pushes to phones. The binary adapts to it whatever stands in for Apple's push service.
pub trait PushSource: Send + Sync {
    /// From now on, every notification for `token` goes to `wake`. Called once a phone, after its
    /// `TokenUpdate`.
    fn subscribe(&self, token: &[u8], wake: Wake);
}

/// Wakes one phone.
#[derive(Debug, Clone)]
pub struct Wake {
    pub(crate) slot: usize,
    pub(crate) push_magic: Box<str>,
    pub(crate) to: UnboundedSender<usize>,
}

impl Wake {
    /// A notification came that names this `PushMagic` (`{"mdm": "…"}`). False if it isn't the phone's, which
    /// then ignores it, or if the fleet is over.
    #[must_use]
    pub fn ring(&self, push_magic: &str) -> bool {
        push_magic == &*self.push_magic && self.to.send(self.slot).is_ok()
    }
}
