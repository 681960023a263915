/// Hears each step of a decision before it is taken: what is compared with what. The last step it hears of is the one
/// that decided.
///
/// It hears nothing secret. `()` hears nothing at all, and costs nothing.
pub trait Trace {
    /// The next step, named after what is looked at; `facts` says what was found there and what was expected.
    fn step(&mut self, name: &'static str, facts: impl FnOnce() -> String);
}

impl Trace for () {
    fn step(&mut self, _: &'static str, _: impl FnOnce() -> String) {}
}
