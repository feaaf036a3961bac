#![cfg_attr(fuzzing, no_main)]
//! See [`gateway_fuzz::rewrite`].

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway_fuzz::rewrite(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    gateway_fuzz::replay_arguments(gateway_fuzz::rewrite)
}
