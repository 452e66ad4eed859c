//! Instances of the gateway's own zone first, as long as enough of them may be used.

use std::rc::Rc;

use super::pool::Slot;

/// Leaves turns to the zone's own instances when at least half of those that the zone has may be used; otherwise all go on
/// taking turns, so that the few that are left do not get what was meant for many. Those who lost their turn by it are
/// returned, for exchanges that the zone's own could not serve.
pub(super) fn prefer(zone: &str, slots: &[Rc<Slot>], turns: &mut Vec<usize>) -> Vec<usize> {
    let own: Vec<bool> = slots.iter().map(|slot| slot.instance.is_in(zone)).collect();
    let all = own.iter().filter(|own| **own).count();
    // Asked of each, not of the turns: where too few are usable anywhere, also those that are not take turns.
    let usable = |at: &usize| own[*at] && slots[*at].instance.standing.reasons().is_usable(false);
    let good = turns.iter().filter(|at| usable(at)).count();
    if good == 0 || 2 * good < all {
        return Vec::new();
    }
    let (own, others) = turns.iter().partition(|at| own[**at]);
    *turns = own;
    others
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::instance::Instance;
    use super::super::load::Load;
    use super::super::service::Service;
    use super::super::standing::Reason;
    use super::*;
    use crate::config::model::{Endpoint, HostPort, Scheme, ServiceConfig};

    fn slots(zones: &[&str]) -> Vec<Rc<Slot>> {
        let service = Arc::new(Service::new(Arc::new(ServiceConfig::default()), 1));
        let slot = |(at, zone): (u16, &&str)| {
            let address = HostPort { host: "10.0.0.1".to_owned(), port: 1 + at };
            let zone = Some((*zone).to_owned()).filter(|zone| !zone.is_empty());
            let endpoint = Endpoint { scheme: Scheme::Http, address, weight: 1, zone };
            let instance = Arc::new(Instance::new(endpoint, &service.config, 1));
            let load = Load::new(&service.config, Rc::default());
            Rc::new(Slot::new(instance, Arc::clone(&service), 0, Rc::default(), load))
        };
        (0..).zip(zones).map(slot).collect()
    }

    /// Who takes turns, and who lost them.
    fn preferred(slots: &[Rc<Slot>]) -> (Vec<usize>, Vec<usize>) {
        let usable = |at: &usize| slots[*at].instance.standing.reasons().is_usable(false);
        let mut turns = (0..slots.len()).filter(usable).collect();
        let others = prefer("a", slots, &mut turns);
        (turns, others)
    }

    #[test]
    fn its_own_come_first_until_more_than_half_of_them_are_gone() {
        let slots = slots(&["a", "b", "", "a", "a"]);
        assert_eq!(preferred(&slots), (vec![0, 3, 4], vec![1, 2]));
        slots[0].instance.standing.set(Reason::Ejected, true);
        assert_eq!(preferred(&slots), (vec![3, 4], vec![1, 2]));
        slots[4].instance.standing.set(Reason::Open, true);
        assert_eq!(preferred(&slots), (vec![1, 2, 3], vec![]), "one of three is too few");
        // When too few are usable anywhere and all take turns, the zone's own that are down are not preferred.
        slots[3].instance.standing.set(Reason::Down, true);
        let mut turns = vec![0, 1, 2, 3, 4];
        assert!(prefer("a", &slots, &mut turns).is_empty());
        assert_eq!(turns, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_zone_without_instances_changes_nothing() {
        assert_eq!(preferred(&slots(&["b", "", "c"])), (vec![0, 1, 2], vec![]));
        assert_eq!(preferred(&slots(&[])), (vec![], vec![]));
        assert_eq!(preferred(&slots(&["a"])), (vec![0], vec![]));
    }
}
