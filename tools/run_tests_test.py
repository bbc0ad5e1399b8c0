# SPDX-License-Identifier: Apache-2.0
import contextlib
import io
import tempfile
import unittest

import run_tests

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<doctest binary="x">\n  <TestSuite>\n'
GOOD = '<TestCase name="good"><OverallResultsAsserts successes="1" failures="0" test_case_success="true"/></TestCase>\n'
BAD = '<TestCase name="bad"><Expression success="false" type="CHECK" filename="a.cc" line="3"><Original>a == b</Original><Expanded>1 == 2</Expanded></Expression>' \
      '<OverallResultsAsserts successes="0" failures="1" test_case_success="false"/></TestCase>\n'
SKIPPED = '<TestCase name="other"><Message type="WARNING"><Text>SKIPPED: no such kernel</Text></Message><OverallResultsAsserts successes="0" failures="0" test_case_success="true"/></TestCase>\n'
FOOT = "  </TestSuite>\n</doctest>\n"


class DoctestTest(unittest.TestCase):
    def outcomes(self, text, code):
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write(text)
            file.flush()
            return list(run_tests.doctest_outcomes("x", file.name, code, "output", lambda title: f"again {title}"))

    def test_states(self):
        found = self.outcomes(HEAD + GOOD + BAD + SKIPPED + FOOT, 1)
        self.assertEqual([(o.name, o.state) for o in found], [('unit:x/"good"', "passed"), ('unit:x/"bad"', "failed"), ('unit:x/"other"', "skipped")])
        self.assertIn("a.cc:3: a == b 1 == 2", found[1].detail)
        self.assertEqual(found[1].again, "again bad")
        self.assertEqual(found[2].detail, "no such kernel")

    def test_crash_is_a_failure(self):
        found = self.outcomes(HEAD + GOOD + '<TestCase name="bang">', -11)
        self.assertEqual(found[-1].state, "failed")
        self.assertIn("bang", found[-1].detail)

    def test_exit_code_without_a_failed_case_is_a_failure(self):
        found = self.outcomes(HEAD + GOOD + FOOT, 23)
        self.assertEqual([o.state for o in found], ["passed", "failed"])


class RunnerTest(unittest.TestCase):
    def test_part_that_breaks_is_a_failure(self):
        def broken(_):
            raise ValueError("x")
            yield
        found = list(run_tests.outcomes_of("p", broken, None, {}))
        self.assertEqual([o.state for o in found], ["failed"])

    def run_again(self, states, failed):
        outcomes = [run_tests.Outcome(name, "failed") for name in failed]
        kept = run_tests.run_pytest
        run_tests.run_pytest = lambda part, nodes, name_filter: iter([run_tests.Outcome(nodes[0], states.pop(0))])
        try:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                run_tests.run_again(outcomes)
        finally:
            run_tests.run_pytest = kept
        return [o.state for o in outcomes], out.getvalue()

    def test_second_chance_is_told_and_can_fail(self):
        states, out = self.run_again(["passed", "failed"], ["tests/a", "tests/b"])
        self.assertEqual(states, ["passed", "failed"])
        self.assertIn("UNSTEADY tests/a", out)
        self.assertNotIn("UNSTEADY tests/b", out)

    def test_no_second_chance_for_many_or_for_other_parts(self):
        self.assertEqual(self.run_again([], ["tests/a"] * 7)[0], ["failed"] * 7)
        self.assertEqual(self.run_again([], ["tests/a", "unit:x"])[0], ["failed"] * 2)

    def test_quoting(self):
        self.assertEqual(run_tests.shell(["a", "b c", "it's"]), "a 'b c' 'it'\\''s'")


if __name__ == "__main__":
    unittest.main()
