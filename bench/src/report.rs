//! The results as tables, as `docs/benchmarks.md` shows them.

use std::fmt;

use anyhow::ensure;
use serde::Serialize;

use crate::{
    bare::Bare, drain::Drained, flat::Flat, idle::Idle, latency::Percentiles, machine::Machine, steady::Steady,
};

#[derive(Default, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) bare: Option<Bare>,
    pub(crate) drains: Vec<Drained>,
    pub(crate) steady: Vec<Steady>,
    pub(crate) idle: Option<Idle>,
    pub(crate) flat: Vec<Flat>,
}

impl Results {
    /// # Errors
    /// If an event was lost or came out of order: then no other figure matters.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let rounds = self.flat.iter().flat_map(|flat| &flat.rounds);
        let drains = self.drains.iter().chain(rounds).map(|run| (run.out_of_order, run.missing));
        let steady = self.steady.iter().map(|run| (run.out_of_order, run.missing));
        for (out_of_order, missing) in drains.chain(steady) {
            ensure!(out_of_order == 0 && missing == 0, "{out_of_order} events out of order, {missing} missing");
        }
        Ok(())
    }
}

impl fmt::Display for Results {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { measured_at, processor, cores, mysql, load_before } = &self.machine;
        writeln!(
            to,
            "{measured_at}, {cores} cores ({processor}), MySQL {mysql}, everything on one machine; load before: \
             {load_before}."
        )?;
        if let Some(bare) = &self.bare {
            write!(to, "\n{bare}")?;
        }
        drains(to, &self.drains)?;
        steady(to, &self.steady)?;
        if let Some(Idle { seconds, statements_per_second, cpu_percent, resident_mib }) = &self.idle {
            writeln!(
                to,
                "\nAn idle relay, over {seconds:.0} s: {statements_per_second:.2} statements/s, {cpu_percent:.1} % of \
                 a core, {resident_mib:.0} MiB."
            )?;
        }
        flat(to, &self.flat)
    }
}

fn drains(to: &mut fmt::Formatter<'_>, runs: &[Drained]) -> fmt::Result {
    if runs.is_empty() {
        return Ok(());
    }
    writeln!(
        to,
        "\n| drain | workers | roles | events/s | deleted/s | first record | empty after | CPU s per 100 k | peak memory \
         | duplicates | out of order | missing |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    )?;
    for run in runs {
        writeln!(
            to,
            "| {} | {} | {} | {:.0} | {:.0} | {:.0} ms | {:.1} s | {:.2} | {:.0} MiB | {} | {} | {} |",
            run.events,
            run.workers,
            run.roles,
            run.events_per_second,
            run.deleted_per_second,
            run.first_record_ms,
            run.empty_after_ms / 1_000.0,
            run.cpu_seconds_per_100k,
            run.peak_mib,
            run.duplicates,
            run.out_of_order,
            run.missing
        )?;
    }
    Ok(())
}

fn steady(to: &mut fmt::Formatter<'_>, runs: &[Steady]) -> fmt::Result {
    if runs.is_empty() {
        return Ok(());
    }
    writeln!(
        to,
        "\nMilliseconds, p50 / p99 / max.\n\n| events/s | reached | workers | roles | commit itself \
         | commit → acknowledged | commit → consumer | worker CPU | duplicates | out of order | missing \
         |\n|---|---|---|---|---|---|---|---|---|---|---|"
    )?;
    for run in runs {
        writeln!(
            to,
            "| {} | {:.0} | {} | {} | {} | {} | {} | {:.0} % | {} | {} | {} |",
            run.rate,
            run.reached_rate,
            run.workers,
            run.roles,
            run.commit,
            run.acknowledged,
            run.consumed,
            run.cpu_percent,
            run.duplicates,
            run.out_of_order,
            run.missing
        )?;
    }
    Ok(())
}

fn flat(to: &mut fmt::Formatter<'_>, runs: &[Flat]) -> fmt::Result {
    if runs.is_empty() {
        return Ok(());
    }
    writeln!(
        to,
        "\n| backlog | old read view | events/s, median | each round | deleted/s, median | CPU s per 100 k | peak memory | duplicates \
         | out of order | missing |\n|---|---|---|---|---|---|---|---|---|---|"
    )?;
    for run in runs {
        let each = |show: fn(&Drained) -> String| run.rounds.iter().map(show).collect::<Vec<_>>().join(", ");
        writeln!(
            to,
            "| {} | {} | {:.0} | {} | {:.0} | {} | {} MiB | {} | {} | {} |",
            run.events,
            if run.old_view { "yes" } else { "no" },
            run.median_events_per_second,
            each(|round| format!("{:.0}", round.events_per_second)),
            run.median_deleted_per_second,
            each(|round| format!("{:.2}", round.cpu_seconds_per_100k)),
            each(|round| format!("{:.0}", round.peak_mib)),
            each(|round| round.duplicates.to_string()),
            each(|round| round.out_of_order.to_string()),
            each(|round| round.missing.to_string()),
        )?;
    }
    Ok(())
}

impl fmt::Display for Percentiles {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:.1} / {:.1} / {:.0}", self.p50, self.p99, self.max)
    }
}
