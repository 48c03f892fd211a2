//! Configuration: documented defaults, overlaid by a TOML file, `.env` and `HOLDFAST__SECTION__KEY` (design §11).
