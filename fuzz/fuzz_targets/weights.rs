#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mp_manager_tests::fuzz::weights(data));
