"""What the keeper's end asks of the journal's database."""

from typing import Final

# Nothing overtakes an earlier entry of its user that is backing off. "> 0" lets SQLite use the index on just those.
_DUE = """
    entries AS entry INDEXED BY queue WHERE state = 0 AND stage = 0 AND not_before <= :now AND NOT EXISTS (
        SELECT 1 FROM entries AS earlier INDEXED BY waiting
        WHERE earlier.state = 0 AND earlier.stage = 0 AND earlier.not_before > 0
        AND earlier.user_key = entry.user_key AND earlier.seq < entry.seq AND earlier.not_before > :now
    ) ORDER BY seq
"""
# A bare column beside min() is of the row that has the minimum: here of the user's oldest entry.
_OLDEST_OF_EACH = """
    SELECT user_key, min(seq) AS oldest, not_before FROM entries INDEXED BY extracting
    WHERE state = 0 AND stage = 1 GROUP BY user_key
"""
_ROW = "SELECT seq, payload, crc, attempts, stage, user_key, (SELECT times FROM taken WHERE seq = entry.seq) FROM"

TAKE: Final = f"{_ROW} {_DUE} LIMIT :limit"
USERS_DUE: Final = f"""
    SELECT user_key FROM ({_OLDEST_OF_EACH}) WHERE not_before <= :now ORDER BY not_before, oldest LIMIT :limit
"""  # noqa: S608 (constants)
TAKE_USER: Final = f"""
    {_ROW} entries AS entry INDEXED BY extracting
    WHERE state = 0 AND stage = 1 AND user_key = :user ORDER BY seq LIMIT :limit
"""
TOOK: Final = "INSERT INTO taken (seq, times) VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1"
PUT_BACK: Final = "UPDATE taken SET times = times - 1 WHERE seq = ?"
SETTLED: Final = "DELETE FROM taken WHERE seq = ?"

DONE: Final = "DELETE FROM entries WHERE seq = ?"
POSTPONE: Final = """
    UPDATE entries SET attempts = attempts + ?, not_before = ?, reason = ? WHERE seq = ? AND state = 0
"""
PARK: Final = "UPDATE entries SET state = 1, attempts = attempts + ?, reason = ?, kind = ? WHERE seq = ?"
ADVANCE: Final = """
    UPDATE entries SET stage = 1, attempts = 0, reason = '', not_before = ? WHERE seq = ? AND state = 0 AND stage = 0
"""
# Attempts are counted anew, or the first failure would park it again.
RETRY: Final = "UPDATE entries SET state = 0, kind = '', attempts = 0, not_before = 0 WHERE state = 1"
RELEASE: Final = f"{RETRY} AND kind = ?"
DROP: Final = "DELETE FROM entries WHERE state = 1"
HASTEN: Final = "UPDATE entries SET not_before = 0 WHERE state = 0 AND not_before > 0"

LAST_SEQ: Final = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'entries'"
UNSETTLED: Final = "SELECT count(*) FROM entries WHERE state = 0 AND stage <= ? AND seq <= ?"
COUNT: Final = """
    SELECT count(*) FILTER (WHERE state = 0 AND stage = 0), count(*) FILTER (WHERE state = 0 AND stage = 1),
    count(*) FILTER (WHERE state = 1),
    (SELECT created_at FROM entries WHERE state = 0 AND stage = 0 ORDER BY seq LIMIT 1) FROM entries INDEXED BY queue
"""
LIST_FAILED: Final = """
    SELECT seq, user_id, tenant, stage, attempts, reason, kind, created_at FROM entries
    WHERE state = 1 ORDER BY seq LIMIT ?
"""

ERASE: Final = "DELETE FROM entries WHERE user_key = ?"
ALL_OF_USER: Final = "SELECT seq, payload, crc FROM entries WHERE user_key = ?"
REWRITE: Final = "UPDATE entries SET payload = ?, crc = ? WHERE seq = ?"
