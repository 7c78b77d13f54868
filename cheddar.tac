"""The Application for `twistd -ny cheddar.tac`: settings come from CHEDDAR_SETTINGS and the rest of the environment."""

from twisted.application.service import Application

from cheddar.tap import service_from_environment

application = Application("cheddar")
service_from_environment().setServiceParent(application)
