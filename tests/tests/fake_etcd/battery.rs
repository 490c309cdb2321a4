//! Every case of the conformance battery, in simulated time.

use crate::sandbox::simulated;

// The battery's own macro makes asynchronous tests; a simulation wants to run them itself.
macro_rules! simulated_cases {
    ($($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                simulated(|mut faked| Box::pin(async move { meridian_store::battery::$case(&mut faked).await }));
            }
        )*
    };
}

meridian_store::battery_cases!([simulated_cases]);
