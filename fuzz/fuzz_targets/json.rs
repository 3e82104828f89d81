#![no_main]

use kubelab_apiserver::fuzzing;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::json(data));

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    fuzzing::mutate::in_place(data, size, max_size, seed, libfuzzer_sys::fuzzer_mutate)
});
