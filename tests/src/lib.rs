//! What the integration tests share: a stack of its own for each test, on the real servers.
//!
//! A [`stack::Stack`] has its own database, topic, consumer groups, key prefix and MongoDB database, so tests run beside each
//! other. The apps run in the test's process on free ports; for crash tests the real binaries run beside it.

pub mod checker;
pub mod client;
pub mod commands;
pub mod dump;
pub mod fleet;
pub mod ledger;
pub mod load;
pub mod process;
pub mod proxy;
pub mod sample;
pub mod seed;
pub mod servers;
pub mod socket;
pub mod stack;
pub mod steady;
pub mod topic;
pub mod transactional;
pub mod wait;
pub mod writers;
