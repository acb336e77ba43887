//! The namespace of the ids that affectd computes: those of events, alerts and summaries.

use uuid::Uuid;

/// UUIDv5 of the DNS name `affectd` in the DNS namespace (RFC 9562).
pub const ID_NAMESPACE: Uuid = Uuid::from_u128(0x8037_025d_6c45_53c9_8713_b0c0_9f48_c528);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_is_that_of_the_dns_name() {
        assert_eq!(ID_NAMESPACE, Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"affectd"));
    }
}
