-- Shape drift: what a target's saves are held against, and what was found.

ALTER TABLE targets ADD COLUMN drift jsonb;
COMMENT ON COLUMN targets.drift IS 'When a save of it is suspicious; null: as usual.';
ALTER TABLE saves ADD COLUMN suspicions jsonb;
COMMENT ON COLUMN saves.suspicions IS 'In what it is out of line with the saves before it; null: in nothing. They stay when it is accepted.';
