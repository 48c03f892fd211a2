-- What a person says of a save outlives what the next verification finds.

ALTER TABLE saves ADD COLUMN invalid_reason text;
COMMENT ON COLUMN saves.invalid_reason IS 'Why a person called the save invalid; null: nobody did, and valid says whether enough copies are good.';
