//! The lane of an entity: which part of the outbox its events wait in, and with it the Kafka partition.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::entity::Key;

/// How many lanes there are. Pinned in the database's `settings`: it decides where rows already written are found.
pub const LANES: u16 = 64;

/// Neighbouring lanes that a transactional relay publishes together: so many, in so many groups.
pub const LANES_IN_A_GROUP: u16 = 8;
pub const LANE_GROUPS: u16 = LANES / LANES_IN_A_GROUP;

/// Java's `murmur2` of the key, made positive, modulo [`LANES`].
///
/// As the number of partitions divides [`LANES`], [`partition`](Self::partition) is what the default partitioner
/// of the Java clients picks for the same key (`Utils.murmur2` in Apache Kafka).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Lane(u16);

impl Lane {
    #[must_use]
    pub fn of(key: &Key) -> Self {
        Self::of_text(&key.to_string())
    }

    fn of_text(key: &str) -> Self {
        let positive = murmur2::murmur2(key.as_bytes(), murmur2::KAFKA_SEED) & 0x7fff_ffff;
        #[expect(clippy::cast_possible_truncation, reason = "below LANES")]
        Self((positive % u32::from(LANES)) as u16)
    }

    pub fn all() -> impl Iterator<Item = Self> {
        (0..LANES).map(Self)
    }

    /// The partition of a topic with so many partitions.
    #[must_use]
    pub fn partition(self, partitions: u16) -> i32 {
        i32::from(self.0 % partitions)
    }

    /// From 0 to [`LANES`] - 1.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    fn bit(self) -> u64 {
        1 << self.0
    }
}

/// A set of lanes: a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lanes(pub u64);

impl Lanes {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(u64::MAX);

    #[must_use]
    pub fn contains(self, lane: Lane) -> bool {
        self.0 & lane.bit() != 0
    }

    pub fn insert(&mut self, lane: Lane) {
        self.0 |= lane.bit();
    }

    pub fn remove(&mut self, lane: Lane) {
        self.0 &= !lane.bit();
    }

    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub fn iter(self) -> impl Iterator<Item = Lane> {
        Lane::all().filter(move |lane| self.contains(*lane))
    }
}

impl FromIterator<Lane> for Lanes {
    fn from_iter<I: IntoIterator<Item = Lane>>(lanes: I) -> Self {
        Self(lanes.into_iter().fold(0, |bits, lane| bits | lane.bit()))
    }
}

/// As ranges: `0-7,12`.
impl fmt::Display for Lanes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for Lane(lane) in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == lane => *last = lane,
                _ => ranges.push((lane, lane)),
            }
        }
        for (place, (first, last)) in ranges.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            if first == last {
                write!(formatter, "{comma}{first}")?;
            } else {
                write!(formatter, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Error)]
#[error("not a lane (0 to {}), a range such as 0-7, or all", LANES - 1)]
pub struct LanesError;

/// `all`, or numbers and ranges separated by commas.
impl FromStr for Lanes {
    type Err = LanesError;

    fn from_str(text: &str) -> Result<Self, LanesError> {
        if text == "all" {
            return Ok(Self::ALL);
        }
        let mut lanes = Self::NONE;
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.parse().ok().filter(|lane| *lane < LANES).ok_or(LanesError);
            let (first, last): (u16, u16) = (number(first)?, number(last)?);
            if first > last {
                return Err(LanesError);
            }
            for lane in first..=last {
                lanes.insert(Lane(lane));
            }
        }
        Ok(lanes)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from Apache Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn the_hash_is_the_one_of_the_java_client() {
        for (text, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ] {
            assert_eq!(murmur2::murmur2(text.as_bytes(), murmur2::KAFKA_SEED).cast_signed(), expected, "{text}");
        }
    }

    #[test]
    fn lanes_are_written_as_ranges_and_read_back() {
        for text in ["0", "63", "0-7,12", "1,3,5-6", "0-63"] {
            assert_eq!(text.parse::<Lanes>().unwrap().to_string(), text);
        }
        assert_eq!("all".parse::<Lanes>().unwrap(), Lanes::ALL);
        for refused in ["", "64", "7-3", "-1", "1-", "x", "0-64"] {
            assert!(refused.parse::<Lanes>().is_err(), "{refused}");
        }
    }

    #[test]
    fn a_lane_and_the_java_partitioner_agree() {
        for number in 0..1_000 {
            let key = format!("user:{number}");
            let positive = murmur2::murmur2(key.as_bytes(), murmur2::KAFKA_SEED) & 0x7fff_ffff;
            for partitions in [1, 2, 4, 8, 16, 32, 64] {
                let java = i32::try_from(positive % u32::from(partitions)).unwrap();
                assert_eq!(Lane::of_text(&key).partition(partitions), java);
            }
        }
    }
}
