BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'fmce');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MINIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'fmce.settings','"{\"search space\": {\"averaging\": \"[0.0, 0.9, 0.98, 0.995]\", \"bag_size\": \"[8]\", \"bags_per_map\": \"[2]\", \"batch_size\": \"[16, 32, 64]\", \"depth\": \"[1]\", \"dropout\": \"{\\\"high\\\": 0.5, \\\"low\\\": 0.0}\", \"epochs\": \"[12]\", \"input_dropout\": \"{\\\"high\\\": 0.5, \\\"low\\\": 0.0}\", \"label_width\": \"{\\\"high\\\": 0.12, \\\"low\\\": 0.02}\", \"lr\": \"{\\\"high\\\": 0.01, \\\"log\\\": true, \\\"low\\\": 0.0003}\", \"noise\": \"{\\\"high\\\": 0.3, \\\"low\\\": 0.0}\", \"reference\": \"[false, true]\", \"scaling\": \"[\\\"standard\\\", \\\"quantile\\\"]\", \"statistics\": \"[\\\"both\\\"]\", \"weight_decay\": \"{\\\"high\\\": 0.3, \\\"log\\\": true, \\\"low\\\": 0.0001}\", \"width\": \"[16]\"}, \"setting\": {\"fmcs_run\": \"4a8e1e0c3e654d40b1973150bc7b4cef\", \"folds\": \"2\", \"members\": \"1\", \"patience\": \"40\", \"protocol\": \"run\", \"seed\": \"0\", \"test_share\": \"0.5\"}}"');
INSERT INTO "study_user_attributes" VALUES(2,1,'fmce.trials','3');
INSERT INTO "study_user_attributes" VALUES(3,1,'fmce.run','"800b8e398cde4953b43d17823d140b44"');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_heartbeats" VALUES(1,1,'2026-11-27 20:33:12');
INSERT INTO "trial_heartbeats" VALUES(2,2,'2026-11-27 20:33:19');
INSERT INTO "trial_heartbeats" VALUES(3,3,'2026-11-27 20:33:20');
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,1,3.89747798442840576171e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,2,3.90113666653633117675e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,1,3,3.90721216797828674316e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,1,4,3.91440987586975097656e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(5,1,5,3.92232343554496765136e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(6,1,6,3.93053039908409118652e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(7,1,7,3.93870174884796142578e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(8,1,8,3.94665151834487915039e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(9,1,9,3.95551919937133789062e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(10,1,10,3.96691277623176574707e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(11,1,11,3.97822052240371704101e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(12,1,12,3.9886760711669921875e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(13,2,1,3.91890510916709899902e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(14,2,2,3.92050206661224365234e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(15,2,3,3.92344117164611816406e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(16,2,4,3.92753183841705322265e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(17,2,5,3.9323380589485168457e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(18,2,6,3.93766820430755615234e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(19,2,7,3.94212245941162109375e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(20,2,8,3.94662767648696899414e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(21,2,9,3.95115941762924194335e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(22,2,10,3.95544826984405517578e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(23,2,11,3.95967677235603332519e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(24,2,12,0.396441325545311,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(25,3,1,3.90081822872161865234e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(26,3,2,3.90100210905075073242e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(27,3,3,3.90133768320083618164e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(28,3,4,3.90177011489868164062e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(29,3,5,3.90226840972900390625e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(30,3,6,3.9028072357177734375e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(31,3,7,0.390336349606514,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(32,3,8,3.90391781926155090332e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(33,3,9,3.90446051955223083496e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(34,3,10,3.90499666333198547363e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(35,3,11,3.90552595257759094238e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(36,3,12,3.90604808926582336425e-01,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'statistics',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["both"]}}');
INSERT INTO "trial_params" VALUES(2,1,'reference',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [false, true]}}');
INSERT INTO "trial_params" VALUES(3,1,'scaling',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["standard", "quantile"]}}');
INSERT INTO "trial_params" VALUES(4,1,'width',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [16]}}');
INSERT INTO "trial_params" VALUES(5,1,'depth',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1]}}');
INSERT INTO "trial_params" VALUES(6,1,'dropout',2.11827399669452354213e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO "trial_params" VALUES(7,1,'input_dropout',3.22947056533328058502e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO "trial_params" VALUES(8,1,'bag_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8]}}');
INSERT INTO "trial_params" VALUES(9,1,'bags_per_map',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [2]}}');
INSERT INTO "trial_params" VALUES(10,1,'lr',1.39159710936847050288e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.01, "log": true}}');
INSERT INTO "trial_params" VALUES(11,1,'weight_decay',1.26125486780372164652e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.3, "log": true}}');
INSERT INTO "trial_params" VALUES(12,1,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [16, 32, 64]}}');
INSERT INTO "trial_params" VALUES(13,1,'label_width',7.28894919752904463239e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.02, "high": 0.12, "log": false}}');
INSERT INTO "trial_params" VALUES(14,1,'averaging',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [0.0, 0.9, 0.98, 0.995]}}');
INSERT INTO "trial_params" VALUES(15,1,'noise',6.06551923209771529782e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.3, "log": false}}');
INSERT INTO "trial_params" VALUES(16,1,'epochs',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [12]}}');
INSERT INTO "trial_params" VALUES(17,2,'statistics',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["both"]}}');
INSERT INTO "trial_params" VALUES(18,2,'reference',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [false, true]}}');
INSERT INTO "trial_params" VALUES(19,2,'scaling',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["standard", "quantile"]}}');
INSERT INTO "trial_params" VALUES(20,2,'width',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [16]}}');
INSERT INTO "trial_params" VALUES(21,2,'depth',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1]}}');
INSERT INTO "trial_params" VALUES(22,2,'dropout',3.99579282108361799608e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO "trial_params" VALUES(23,2,'input_dropout',2.30739681126465923099e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO "trial_params" VALUES(24,2,'bag_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8]}}');
INSERT INTO "trial_params" VALUES(25,2,'bags_per_map',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [2]}}');
INSERT INTO "trial_params" VALUES(26,2,'lr',4.63204262663610179251e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.01, "log": true}}');
INSERT INTO "trial_params" VALUES(27,2,'weight_decay',2.57783146319721457109e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.3, "log": true}}');
INSERT INTO "trial_params" VALUES(28,2,'batch_size',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [16, 32, 64]}}');
INSERT INTO "trial_params" VALUES(29,2,'label_width',7.21848321750071658664e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.02, "high": 0.12, "log": false}}');
INSERT INTO "trial_params" VALUES(30,2,'averaging',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [0.0, 0.9, 0.98, 0.995]}}');
INSERT INTO "trial_params" VALUES(31,2,'noise',1.70530184660594552603e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.3, "log": false}}');
INSERT INTO "trial_params" VALUES(32,2,'epochs',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [12]}}');
INSERT INTO "trial_params" VALUES(33,3,'statistics',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["both"]}}');
INSERT INTO "trial_params" VALUES(34,3,'reference',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [false, true]}}');
INSERT INTO "trial_params" VALUES(35,3,'scaling',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["standard", "quantile"]}}');
INSERT INTO "trial_params" VALUES(36,3,'width',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [16]}}');
INSERT INTO "trial_params" VALUES(37,3,'depth',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [1]}}');
INSERT INTO "trial_params" VALUES(38,3,'dropout',4.71874039257312083428e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO "trial_params" VALUES(39,3,'input_dropout',3.40910149551741703533e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO "trial_params" VALUES(40,3,'bag_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [8]}}');
INSERT INTO "trial_params" VALUES(41,3,'bags_per_map',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [2]}}');
INSERT INTO "trial_params" VALUES(42,3,'lr',1.05829853580323321286e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.01, "log": true}}');
INSERT INTO "trial_params" VALUES(43,3,'weight_decay',3.30836254613390591539e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 0.3, "log": true}}');
INSERT INTO "trial_params" VALUES(44,3,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [16, 32, 64]}}');
INSERT INTO "trial_params" VALUES(45,3,'label_width',8.70637869618159365714e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.02, "high": 0.12, "log": false}}');
INSERT INTO "trial_params" VALUES(46,3,'averaging',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [0.0, 0.9, 0.98, 0.995]}}');
INSERT INTO "trial_params" VALUES(47,3,'noise',1.71059031125363886216e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.3, "log": false}}');
INSERT INTO "trial_params" VALUES(48,3,'epochs',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [12]}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'fmce.run','"50a66d193473476b97ddd9a52163d7e1"');
INSERT INTO "trial_user_attributes" VALUES(2,2,'fmce.run','"a9f09de8f5574a77b3d6b2d569e02c58"');
INSERT INTO "trial_user_attributes" VALUES(3,3,'fmce.run','"df585279a62d469f9a16573d370ef1a1"');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,3.89747798442840576171e-01,'FINITE');
INSERT INTO "trial_values" VALUES(2,2,0,3.91890510916709899902e-01,'FINITE');
INSERT INTO "trial_values" VALUES(3,3,0,3.90081822872161865234e-01,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-27 20:33:12.844774','2026-11-27 20:33:19.834396');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-27 20:33:19.933727','2026-11-27 20:33:20.500149');
INSERT INTO "trials" VALUES(3,2,1,'COMPLETE','2026-11-27 20:33:20.574451','2026-11-27 20:33:21.447451');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
