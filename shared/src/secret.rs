//! Secrets at rest: credentials sealed with HPKE (RFC 9180) so that only workers can open them (design §11).
