//! The figures of one sample.

/// One side's figures in one round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured {
    /// Operations per second, of all clients.
    pub(crate) rate: f64,
    /// The time that the work took.
    pub(crate) seconds: f64,
    /// Of the first client, in microseconds.
    pub(crate) p50: Option<f64>,
    pub(crate) bytes: Option<f64>,
    /// Microseconds of the server's processor time for each operation.
    pub(crate) server_cpu: f64,
    /// How often the server's threads were switched, for each operation.
    pub(crate) switches: f64,
    pub(crate) server_kib: u64,
}
