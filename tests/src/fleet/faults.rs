//! What happens to the workers, one thing after another, and what is sampled at each.

use std::{
    collections::HashSet,
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use shared::config::Delivery;
use uuid::Uuid;

use super::{BEHIND, Fleet, Report, SIZE, lanes};
use crate::{
    dump::{self, Offsets},
    steady::Pace,
    wait,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// One gets SIGTERM.
    Terminated,
    /// One gets `kill -9`.
    Killed,
    /// One is stopped where it is, and goes on when its lease has run out.
    Frozen,
    /// One loses its connections to MySQL for longer than its lease.
    WithoutMysql,
    /// One loses its connections to Kafka.
    WithoutKafka,
    /// One after the other gets SIGTERM and has a successor.
    RollingRestart,
}

impl Fault {
    pub const ALL: [Self; 6] =
        [Self::Terminated, Self::Killed, Self::Frozen, Self::WithoutMysql, Self::WithoutKafka, Self::RollingRestart];

    /// Whether nothing may come twice.
    #[must_use]
    pub fn is_orderly(self) -> bool {
        matches!(self, Self::Terminated | Self::RollingRestart)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Terminated => "SIGTERM",
            Self::Killed => "kill -9",
            Self::Frozen => "SIGSTOP, SIGCONT",
            Self::WithoutMysql => "MySQL cut",
            Self::WithoutKafka => "Kafka cut",
            Self::RollingRestart => "rolling restart",
        };
        formatter.pad(name)
    }
}

/// What is to be done, under which load.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    pub pace: Pace,
    pub delivery: Delivery,
    pub lease: Duration,
    /// For how long changes are made at least.
    pub duration: Duration,
    /// Between two faults.
    pub calm: Duration,
}

/// A fault, and what was seen of it.
#[derive(Debug)]
pub struct Phase {
    pub fault: Fault,
    /// From there on what is on the topic is this fault's.
    pub(super) since: Offsets,
    /// What waited in the victim's lanes: what was in flight is among it, and what was acknowledged and not yet deleted.
    pub waiting: HashSet<Uuid>,
    /// What of it was on the topic already, before its next owner began.
    pub published: Option<usize>,
    /// Until all lanes had live owners again.
    pub take_overs: Vec<Duration>,
}

/// Runs the script and judges what clients and stores tell of it.
pub async fn run(script: Script) -> anyhow::Result<Report> {
    let fleet = Fleet::start(script.lease, script.delivery).await?;
    let (phases, outcome) = fleet.judge(script.pace, async |fleet| suffer(fleet, script).await).await?;
    Ok(Report::new(script, phases, outcome))
}

async fn suffer(fleet: &mut Fleet, script: Script) -> anyhow::Result<Vec<Phase>> {
    let start = Instant::now();
    let mut random = StdRng::seed_from_u64(script.pace.seed);
    let mut phases = Vec::new();
    for fault in Fault::ALL {
        wait::pause(script.calm.mul_f64(random.random_range(0.5..1.5))).await;
        let victim = random.random_range(0..SIZE);
        let since = dump::ends(&fleet.stack.config.kafka).await?;
        let mut phase = Phase { fault, since, waiting: HashSet::new(), published: None, take_overs: Vec::new() };
        match fault {
            Fault::Terminated => fleet.terminate(victim, &mut phase).await?,
            Fault::Killed => fleet.kill(victim, &mut phase).await?,
            Fault::Frozen => fleet.freeze(victim, script.lease, &mut phase).await?,
            Fault::WithoutMysql => fleet.cut_mysql(script.lease, &mut phase).await?,
            Fault::WithoutKafka => fleet.cut_kafka(script.lease, &mut phase).await?,
            Fault::RollingRestart => {
                for victim in 0..SIZE {
                    fleet.terminate(victim, &mut phase).await?;
                }
            }
        }
        phases.push(phase);
    }
    wait::pause(script.duration.saturating_sub(start.elapsed())).await;
    Ok(phases)
}

impl Fleet {
    /// Fills a place whose worker is gone.
    async fn replace(&mut self, place: usize) -> anyhow::Result<()> {
        let member = self.begin(place).await?;
        self.members.insert(place, member);
        self.shared().await
    }

    async fn terminate(&mut self, victim: usize, phase: &mut Phase) -> anyhow::Result<()> {
        let member = self.members.remove(victim);
        let at = Instant::now();
        let taken_over = lanes::taken_over(&mut self.connection, at, &member.name);
        let (ended, taken_over) = tokio::join!(member.process.terminate(), taken_over);
        ensure!(ended?.success(), "a worker did not end in order");
        phase.take_overs.push(taken_over?);
        self.replace(victim).await
    }

    async fn kill(&mut self, victim: usize, phase: &mut Phase) -> anyhow::Result<()> {
        let member = self.members.remove(victim);
        let at = Instant::now();
        member.process.kill().await?;
        phase.waiting = lanes::waiting(&mut self.connection, &member.name).await?;
        let taking_over = lanes::taken_over(&mut self.connection, at, &member.name);
        // The lease has not run out meanwhile, so nobody else has published of it.
        let sampling = dump::topic_since(&self.stack.config.kafka, &phase.since);
        let (taken_over, sampled) = tokio::join!(taking_over, sampling);
        let published: HashSet<Uuid> = sampled?.into_iter().map(|record| record.event.id).collect();
        phase.published = Some(phase.waiting.intersection(&published).count());
        phase.take_overs.push(taken_over?);
        self.replace(victim).await
    }

    async fn freeze(&mut self, victim: usize, lease: Duration, phase: &mut Phase) -> anyhow::Result<()> {
        let member = &self.members[victim];
        let at = Instant::now();
        member.process.freeze().await?;
        phase.waiting = lanes::waiting(&mut self.connection, &member.name).await?;
        phase.take_overs.push(lanes::taken_over(&mut self.connection, at, &member.name).await?);
        wait::pause((lease * 3 / 2).saturating_sub(at.elapsed())).await;
        member.process.thaw().await?;
        self.shared().await
    }

    async fn cut_mysql(&mut self, lease: Duration, phase: &mut Phase) -> anyhow::Result<()> {
        let name = self.members[BEHIND].name.clone();
        let at = Instant::now();
        self.mysql.cut();
        phase.waiting = lanes::waiting(&mut self.connection, &name).await?;
        phase.take_overs.push(lanes::taken_over(&mut self.connection, at, &name).await?);
        wait::pause((lease * 3 / 2).saturating_sub(at.elapsed())).await;
        self.mysql.mend();
        self.shared().await
    }

    /// Its lanes stay its own: it has its leases.
    async fn cut_kafka(&mut self, lease: Duration, phase: &mut Phase) -> anyhow::Result<()> {
        let name = self.members[BEHIND].name.clone();
        let kafka = self.kafka.as_ref().context("Kafka has no proxy")?;
        kafka.cut();
        phase.waiting = lanes::waiting(&mut self.connection, &name).await?;
        wait::pause(lease).await;
        kafka.mend();
        let earlier = phase.waiting.clone();
        wait::until("what waited is gone", async || {
            let waiting = lanes::waiting(&mut self.connection, &name).await?;
            Ok(waiting.is_disjoint(&earlier).then_some(()))
        })
        .await
    }
}
