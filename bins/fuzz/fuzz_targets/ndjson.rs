#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mini_platform_bins::fuzzing::ndjson(input));
