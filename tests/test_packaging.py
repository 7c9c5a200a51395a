"""What an installation offers: the plugin, the version, and dependencies with tested lower bounds."""

from __future__ import annotations

import configparser
import os
import runpy
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from twisted.application.service import IServiceMaker, ServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from rendezvous import __version__

ROOT = Path(__file__).parents[1]


def installed_version(distribution: str) -> str:
    """
    Look up the version of an installed distribution.

    :raises SkipTest: if it is not installed, unless this is CI, where it has to be.
    """
    try:
        return metadata(distribution)["Version"]
    except PackageNotFoundError:
        if os.environ.get("CI") == "true":
            raise
        raise SkipTest(f"{distribution} is not installed here; make test installs it") from None


class PluginTests(SynchronousTestCase):
    """``twistd`` finds the service."""

    def test_plugin_is_found_once(self) -> None:
        """There is one service maker called rendezvous."""
        found = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "rendezvous"]
        self.assertEqual(len(found), 1)

    def test_plugin_names_the_module_that_makes_the_service(self) -> None:
        """The service maker knows its module by name, and describes itself in one line."""
        [maker] = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "rendezvous"]
        assert isinstance(maker, ServiceMaker)
        self.assertEqual(maker.module, "rendezvous.tap")
        self.assertNotIn("\n", maker.description)

    def test_twisted_stays_a_package_of_its_own(self) -> None:
        """An ``__init__.py`` of ours below ``twisted`` would hide Twisted's."""
        ours = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "twisted").rglob("*.py"))
        self.assertEqual(ours, ["twisted/plugins/rendezvous_plugin.py"])


class MetadataTests(SynchronousTestCase):
    """The metadata agrees with the code."""

    def setUp(self) -> None:
        """Read what the project declares."""
        self.declared = configparser.ConfigParser()
        self.declared.read(ROOT / "setup.cfg", encoding="utf-8")

    def test_version_is_the_packages(self) -> None:
        """The installed metadata has the version that the package states."""
        self.assertEqual(installed_version(self.declared["metadata"]["name"]), __version__)

    def test_tests_can_use_the_client(self) -> None:
        """What the client needs, the tests have."""
        extras = self.declared["options.extras_require"]
        self.assertLessEqual(set(extras["client"].split()), set(extras["test"].split()))


class LowestTests(SynchronousTestCase):
    """The constraints for the oldest dependencies follow from the declared bounds."""

    def setUp(self) -> None:
        """Load the script as a module."""
        self.script = runpy.run_path(str(ROOT / ".ci" / "lowest.py"))

    def test_lower_bound_becomes_an_exact_version(self) -> None:
        """Extras are dropped, for pip takes none in constraints."""
        self.assertEqual(self.script["constraint"]("twisted[tls]>=24.7.0"), "twisted==24.7.0")
        self.assertEqual(self.script["constraint"]("zope.interface>=6.0"), "zope.interface==6.0")

    def test_versions_of_python_are_left_out(self) -> None:
        """A constraint for what is not installed does no harm."""
        found = self.script["constraint"]('miniupnpc>=2.3.3; python_version < "3.14"')
        self.assertEqual(found, "miniupnpc==2.3.3")

    def test_anything_else_is_refused(self) -> None:
        """A dependency without a lower bound, or with another bound beside it, cannot be tested at its lowest."""
        for requirement in ("klein", "klein<25", "klein>=24,<25", "klein==24.8.0", "klein>=24.8.0; os_name == 'nt'"):
            self.assertRaises(ValueError, self.script["constraint"], requirement)

    def test_every_dependency_of_users_and_tests_is_held(self) -> None:
        """What the package, its client and its tests declare is held, once each."""
        text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
        names = [line.split("==")[0] for line in self.script["constraints"](text)]
        self.assertEqual(names, sorted(set(names)))
        self.assertLessEqual({"attrs", "klein", "treq", "twisted", "hypothesis"}, set(names))
