#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| holdspace_fuzz::framing(bytes));
