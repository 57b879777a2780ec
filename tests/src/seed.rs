//! Seeds of random tests: printed, so that a failure can be seen again.

/// Another one in each run, or what `TEST_SEED` says.
///
/// # Panics
/// If `TEST_SEED` is no number.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "it is no setting of the product")]
#[expect(clippy::print_stdout, reason = "the seed is reported")]
pub fn seed(of: &str) -> u64 {
    let seed = match std::env::var("TEST_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("TEST_SEED={text} is no number")),
        Err(_) => rand::random::<u32>().into(),
    };
    println!("{of}: TEST_SEED={seed}");
    seed
}
