#![cfg_attr(fuzzing, no_main)]
//! See [`gateway_fuzz::host_match`].

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway_fuzz::host_match(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    gateway_fuzz::replay_arguments(gateway_fuzz::host_match)
}
