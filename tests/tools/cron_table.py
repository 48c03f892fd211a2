#!/usr/bin/env python3
"""When cron expressions fire, found by looking at every minute (or second) of the span: the table that
shared/src/schedule/cron.rs is held against. It shares nothing with that: the rules are those of docs/schedules.md.

  cron_table.py > cron_table.json    make the table anew
"""

import bisect
import datetime
import json
import zoneinfo

UTC = datetime.timezone.utc
EPOCH, SECOND = datetime.datetime(1970, 1, 1, tzinfo=UTC), datetime.timedelta(seconds=1)
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago"]
# Both changes of 2026 and of 2027, and a leap day.
FROM = datetime.datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = datetime.datetime(2028, 3, 5, tzinfo=UTC)
LEAP_DAY = datetime.datetime(2028, 2, 28, 22, tzinfo=UTC)
# Around each change, of what is looked at by the second.
AROUND = datetime.timedelta(hours=4)
EXPRESSIONS = [
    "0 3 * * *", "30 2 * * *", "0 2 * * *", "59 1 * * *", "0 0 * * *", "30 0 * * *", "59 23 * * *", "15 1 * * *",
    "0 5 * * *", "30 2,3 * * *", "0 1-4 * * *", "*/10 2 * * *", "*/20 0-5 * * *", "0 */2 * * *", "45 */6 * * *",
    "0 0,12 * * *", "* * * * *", "*/15 * * * *", "7 * * * *", "0 * * * *", "45 0-23 * * *", "5,35 */1 * * *",
    "30 2 * * 0", "30 2 * * 7", "0 3 * * 1-5", "0 3 * * sat,SUN", "0 22 * * fri-sun", "0 3 1 * *", "0 0 31 * *",
    "0 0 29 2 *", "0 12 29 2 1", "0 4 13 * 5", "0 4 1,15 * 1-3", "0 4 */2 * 1", "0 4 1-7 * */3", "30 1 1 1-6/2 *",
    "0 6 25-31 mar,oct 0", "0 * 5 4 *", "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly",
    "30 30 2 * * *", "*/20 */30 * * * *", "0,59 59 1-3 * * 0", "15 0 */3 * * *",
]
WORDS = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
DAYS = "sun mon tue wed thu fri sat".split()


def numbers(text, low, high, names=()):
    """The set that a field stands for."""
    found = set()

    def number(word):
        return low + names.index(word.lower()) if word.lower() in names else int(word)

    for part in text.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            first, last = low, high
        elif dash:
            first, last = number(first), number(last)
            if last == 0 and first > 0:
                last = 7
        else:
            first = last = number(first)
        found |= set(range(first, last + 1, int(step or 1)))
    return found


class Expression:
    def __init__(self, text):
        fields = WORDS.get(text, text).split()
        self.by_second = len(fields) == 6
        second, minute, hour, day, month, weekday = fields if self.by_second else ["0", *fields]
        self.seconds, self.minutes = numbers(second, 0, 59), numbers(minute, 0, 59)
        self.hours, self.days, self.months = numbers(hour, 0, 23), numbers(day, 1, 31), numbers(month, 1, 12, MONTHS)
        self.weekdays = {n % 7 for n in numbers(weekday, 0, 6 if weekday.startswith("*") else 7, DAYS)}
        self.either = not day.startswith("*") and not weekday.startswith("*")
        self.runs_on = len(self.hours) == 24

    def names_day(self, date):
        of_month, of_week = date.day in self.days, date.isoweekday() % 7 in self.weekdays
        return date.month in self.months and (of_month or of_week if self.either else of_month and of_week)

    def names(self, time):
        of_day = time.hour in self.hours and time.minute in self.minutes and time.second in self.seconds
        return of_day and self.names_day(time.date())


class Steps:
    """Every step of some spans on the clock of a zone: when each time of the day is shown, and what is skipped."""

    def __init__(self, zone, spans, step):
        self.shown, self.skipped, self.dates = {}, {}, set()
        for first, last in spans:
            before = None
            for at in range(seconds(first), seconds(last) + 1, step // SECOND):
                local = datetime.datetime.fromtimestamp(at, zone)
                naive = local.replace(tzinfo=None, fold=0)
                date = naive.date()
                self.dates.add(date)
                self.shown.setdefault((local.hour, local.minute, local.second), []).append((at, date, local.fold))
                if before is not None and naive - before > step:
                    self.skipped[at] = [before + step * n for n in range(1, (naive - before) // step)]
                before = naive

    def firings(self, expression):
        found = []
        dates = {date for date in self.dates if expression.names_day(date)}
        for hour in expression.hours:
            for minute in expression.minutes:
                for second in expression.seconds:
                    for at, date, fold in self.shown.get((hour, minute, second), ()):
                        if (expression.runs_on or fold == 0) and date in dates:
                            found.append(at)
        if not expression.runs_on:
            found += [at for at, gap in self.skipped.items() if any(expression.names(time) for time in gap)]
        return sorted(set(found))


def changes(zone):
    """The instants at which the clock is put forward or back."""
    found, at, hour = [], FROM, datetime.timedelta(minutes=30)
    while at < UNTIL:
        if at.astimezone(zone).utcoffset() != (at - hour).astimezone(zone).utcoffset():
            found.append(at)
        at += hour
    return found


def seconds(at):
    return (at - EPOCH) // SECOND


def spelled(at):
    return f"{EPOCH + SECOND * at:%Y-%m-%dT%H:%M:%SZ}"


def main():
    spans, cases = {"full": [[seconds(FROM), seconds(UNTIL)]]}, []
    for name in ZONES:
        zone = zoneinfo.ZoneInfo(name)
        turns = changes(zone)
        assert len(turns) == 4, (name, turns)
        around = [(turn - AROUND, turn + AROUND) for turn in turns]
        spans[name] = [[seconds(first), seconds(last)] for first, last in around]
        by_minute = Steps(zone, [(FROM, UNTIL)], datetime.timedelta(minutes=1))
        by_second = Steps(zone, around, datetime.timedelta(seconds=1))
        for text in EXPRESSIONS:
            expression = Expression(text)
            found = (by_second if expression.by_second else by_minute).firings(expression)
            checksum = 0
            for at in found:
                checksum = (checksum * 1_000_003 + at) & 0xFFFF_FFFF_FFFF_FFFF
            looks = []
            for turn in [*turns, LEAP_DAY]:
                start = bisect.bisect_left(found, seconds(turn - datetime.timedelta(hours=2)))
                until = seconds(turn + AROUND if expression.by_second else UNTIL)
                after = [spelled(at) for at in found[start:start + 5] if at <= until]
                looks += [after] if after else []
            cases.append({
                "expression": text, "zone": name, "span": name if expression.by_second else "full",
                "count": len(found), "checksum": f"{checksum:016x}", "at_changes": looks,
            })
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    print(f'{{\n"spans": {json.dumps(spans)},\n"cases": [\n{lines}\n]\n}}')


if __name__ == "__main__":
    main()
