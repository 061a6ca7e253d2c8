//! Which declarations each phone should hold: a part of the vault's state, a replay of the ledger.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use apple::declaration::{MAX_DECLARATIONS, ManifestItem};
use ledger::{Declared, Effect};
use model::{DeclarationId, DeclarationKind, EnrolmentId, OrderId, SetName, TimeMs};

/// Every phone's sets.
#[derive(Default)]
pub(crate) struct DeclaredState {
    phones: HashMap<EnrolmentId, PhoneSets>,
    orders: HashSet<OrderId>,
}

/// One phone's.
#[derive(Default)]
pub(crate) struct PhoneSets {
    /// The phone should hold their union. Sets are shared among the phones of an order.
    sets: BTreeMap<SetName, Arc<[Declared]>>,
    /// What it held before and may still ask for: the newest last.
    gone: Vec<(DeclarationKind, DeclarationId)>,
    /// The newest order behind all this.
    pub(crate) position: u64,
    pub(crate) changed_at_ms: TimeMs,
}

impl DeclaredState {
    /// Takes an accepted order in.
    pub(crate) fn apply(&mut self, order: OrderId, position: u64, at_ms: TimeMs, effect: &Effect) {
        let Effect::DeclarationsSet { set, declarations, targets, .. } = effect else { return };
        self.orders.insert(order);
        let new: Arc<[Declared]> = declarations.as_slice().into();
        for target in targets {
            let phone = self.phones.entry(*target).or_default();
            phone.position = position;
            phone.changed_at_ms = at_ms;
            let old = if new.is_empty() {
                phone.sets.remove(set)
            } else {
                phone.sets.insert(set.clone(), new.clone())
            };
            let key = |d: &Declared| (d.kind, d.identifier.clone());
            let still: HashSet<_> = phone.held().map(key).collect();
            phone.gone.extend(old.iter().flat_map(|o| o.iter()).map(key));
            let mut seen = HashSet::new();
            phone.gone.reverse();
            phone.gone.retain(|g| !still.contains(g) && seen.insert(g.clone()));
            phone.gone.truncate(MAX_DECLARATIONS);
            phone.gone.reverse();
        }
    }

    /// What a phone should hold, once anything was ever set for it.
    pub(crate) fn of(&self, phone: &EnrolmentId) -> Option<&PhoneSets> {
        self.phones.get(phone)
    }

    /// Whether this order set declarations.
    pub(crate) fn is_set_by(&self, order: &OrderId) -> bool {
        self.orders.contains(order)
    }
}

impl PhoneSets {
    /// All it should hold.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Declared> {
        self.sets.values().flat_map(|s| s.iter())
    }

    /// The set of that name.
    pub(crate) fn set(&self, name: &SetName) -> &[Declared] {
        self.sets.get(name).map_or(&[], |s| s)
    }

    /// What it should hold by its other sets.
    pub(crate) fn others(&self, name: &SetName) -> impl Iterator<Item = &Declared> {
        self.sets.iter().filter(move |(n, _)| *n != name).flat_map(|(_, s)| s.iter())
    }

    /// What it should no longer hold.
    pub(crate) fn gone(&self) -> &[(DeclarationKind, DeclarationId)] {
        &self.gone
    }

    /// The items of its manifest.
    pub(crate) fn items(&self) -> Vec<ManifestItem> {
        let item =
            |d: &Declared| ManifestItem { kind: d.kind, identifier: d.identifier.clone(), token: d.token };
        self.held().map(item).collect()
    }
}
