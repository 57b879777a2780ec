//! What happens to workers that share one outbox costs no event and no order: a short run of `make faults-relay`.

use std::time::Duration;

use harness::{
    fleet::{Fault, Script, run},
    seed::seed,
    steady::Pace,
};
use shared::config::Delivery;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_a_worker_nothing_is_lost_or_overtaken() -> anyhow::Result<()> {
    let pace = Pace { seed: seed("faults_relay"), changes_per_second: 200, users: 100 };
    let (lease, moment) = (Duration::from_secs(2), Duration::from_millis(300));
    let report =
        run(Script { pace, delivery: Delivery::AtLeastOnce, lease, duration: Duration::ZERO, calm: moment }).await?;
    println!("{report}");
    report.check()?;
    for fault in [Fault::Killed, Fault::Frozen, Fault::WithoutMysql] {
        let taken_over = report.take_over(fault).unwrap_or_default();
        // A lease and a second are promised; the rest is for a machine that runs all tests at once.
        assert!(taken_over < lease + Duration::from_secs(5), "{fault}: taken over after {taken_over:?}");
    }
    Ok(())
}
