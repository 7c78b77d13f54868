from twisted.application.service import ServiceMaker

cheddar = ServiceMaker("Cheddar", "cheddar.tap", "A private Python package index.", "cheddar")
