//! Mistakes with tasks, and what the compiler says about them.

#[test]
#[ignore = "builds the library again, which takes minutes: .ci/run does it, and `cargo test -- --ignored`"]
fn mistakes_are_errors_that_say_what_to_do() {
    trybuild::TestCases::new().compile_fail("tests/fail/*.rs");
}
