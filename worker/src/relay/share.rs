//! Which lanes a worker should have: rendezvous hashing (Thaler and Ravishankar, 1996) over the live workers, so that
//! one that comes or goes moves its own share only.

use shared::lane::Lanes;

/// The lanes of `worker`, in groups of `granularity` neighbours that stay together.
pub(super) fn of_worker(worker: &str, live: &[String], granularity: usize) -> Lanes {
    shared::lane::Lane::all()
        .filter(|lane| {
            let group = (lane.index() / granularity) as u64;
            let winner = live.iter().max_by_key(|live| (weight(live, group), *live));
            winner.is_some_and(|winner| winner == worker)
        })
        .collect()
}

fn weight(worker: &str, group: u64) -> u64 {
    murmur2::murmur64a(worker.as_bytes(), group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("worker-{number}")).collect()
    }

    #[test]
    fn every_lane_has_exactly_one_owner() {
        for granularity in [1, 8] {
            let live = workers(5);
            let shares = live.iter().map(|worker| of_worker(worker, &live, granularity));
            let mut all = Lanes::NONE;
            for share in shares {
                assert!(all.intersection(share).is_empty());
                all = Lanes(all.0 | share.0);
            }
            assert_eq!(all, Lanes::ALL);
        }
    }

    #[test]
    fn a_new_worker_takes_from_the_others_and_moves_nothing_between_them() {
        let (before, after) = (workers(3), workers(4));
        for worker in &before {
            let gained = of_worker(worker, &after, 1).without(of_worker(worker, &before, 1));
            assert!(gained.is_empty());
        }
        let share = of_worker(&after[3], &after, 1).len();
        assert!((6..=28).contains(&share), "{share} of 64 lanes");
    }
}
