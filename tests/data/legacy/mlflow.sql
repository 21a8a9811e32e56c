BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('dc11669786a5');
CREATE TABLE "assessments" (
	assessment_id VARCHAR(50) NOT NULL, 
	trace_id VARCHAR(50) NOT NULL, 
	name VARCHAR(250) NOT NULL, 
	assessment_type VARCHAR(20) NOT NULL, 
	value TEXT NOT NULL, 
	error TEXT, 
	created_timestamp BIGINT NOT NULL, 
	last_updated_timestamp BIGINT NOT NULL, 
	source_type VARCHAR(50) NOT NULL, 
	source_id VARCHAR(250), 
	run_id VARCHAR(32), 
	span_id VARCHAR(50), 
	rationale TEXT, 
	overrides VARCHAR(50), 
	valid BOOLEAN NOT NULL, 
	assessment_metadata TEXT, 
	experiment_id INTEGER, 
	trace_timestamp_ms BIGINT, 
	aggregate_value FLOAT, 
	is_numeric_value BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT assessments_pk PRIMARY KEY (assessment_id), 
	CONSTRAINT fk_assessments_trace_id FOREIGN KEY(trace_id) REFERENCES trace_info (request_id) ON DELETE CASCADE
);
CREATE TABLE budget_policies (
	budget_policy_id VARCHAR(36) NOT NULL, 
	budget_unit VARCHAR(32) NOT NULL, 
	budget_amount FLOAT NOT NULL, 
	duration_unit VARCHAR(32) NOT NULL, 
	duration_value INTEGER NOT NULL, 
	target_scope VARCHAR(32) NOT NULL, 
	budget_action VARCHAR(32) NOT NULL, 
	created_by VARCHAR(255), 
	created_at BIGINT NOT NULL, 
	last_updated_by VARCHAR(255), 
	last_updated_at BIGINT NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, target_value VARCHAR(255), 
	CONSTRAINT budget_policies_pk PRIMARY KEY (budget_policy_id)
);
CREATE TABLE "datasets" (
	dataset_uuid VARCHAR(36) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	name VARCHAR(500) NOT NULL, 
	digest VARCHAR(36) NOT NULL, 
	dataset_source_type VARCHAR(36) NOT NULL, 
	dataset_source TEXT NOT NULL, 
	dataset_schema TEXT, 
	dataset_profile TEXT, 
	CONSTRAINT dataset_pk PRIMARY KEY (experiment_id, name, digest), 
	CONSTRAINT fk_datasets_experiment_id_experiments FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id) ON DELETE CASCADE
);
INSERT INTO "datasets" VALUES('e9809ac4dd074c73bc6f0c3384b2f14e',1,'fmcs_dataset','a5c86001','fmcs_dataset','{"uri": "runs:/4a8e1e0c3e654d40b1973150bc7b4cef/fmcs_dataset.parquet", "run_id": "4a8e1e0c3e654d40b1973150bc7b4cef"}','{"mlflow_colspec": [{"type": "string", "name": "run_id", "required": true}, {"type": "string", "name": "backbone", "required": true}, {"type": "string", "name": "dataset", "required": true}, {"type": "long", "name": "seed", "required": true}, {"type": "string", "name": "module", "required": true}, {"type": "long", "name": "snapshot", "required": true}, {"type": "double", "name": "epoch", "required": true}, {"type": "double", "name": "fmcs", "required": true}, {"type": "long", "name": "level", "required": false}, {"type": "long", "name": "n", "required": true}, {"type": "long", "name": "channels", "required": true}, {"type": "long", "name": "height", "required": true}, {"type": "long", "name": "width", "required": true}, {"type": "string", "name": "artifact_path", "required": true}, {"type": "string", "name": "sha256", "required": true}]}','{"num_rows": 21, "num_elements": 315}');
INSERT INTO "datasets" VALUES('39ed8bf96a214c6db8d1bab315fe54e9',1,'digits, held out','a77421ba','code','{"tags": {"mlflow.user": "legacy", "mlflow.source.name": "-c", "mlflow.source.type": "LOCAL"}}','{"mlflow_colspec": [{"name": "image", "type": "uint8 (height 8, width 8, channels 3)"}, {"name": "target", "type": "int64"}], "mlflow_tensorspec": {"features": "[{\"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"uint8\", \"shape\": [-1, 8, 8, 3]}}]", "targets": "[{\"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"int64\", \"shape\": [-1]}}]"}}','{"num_images": 359, "size": "8 \u00d7 8", "channels": "3", "num_classes": 10, "images_per_class": {"0": 36, "1": 36, "2": 35, "3": 37, "4": 36, "5": 36, "6": 36, "7": 36, "8": 35, "9": 36}}');
CREATE TABLE endpoint_bindings (
	endpoint_id VARCHAR(36) NOT NULL, 
	resource_type VARCHAR(50) NOT NULL, 
	resource_id VARCHAR(255) NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by VARCHAR(255), 
	last_updated_at BIGINT NOT NULL, 
	last_updated_by VARCHAR(255), display_name VARCHAR(255), 
	CONSTRAINT endpoint_bindings_pk PRIMARY KEY (endpoint_id, resource_type, resource_id), 
	CONSTRAINT fk_endpoint_bindings_endpoint_id FOREIGN KEY(endpoint_id) REFERENCES endpoints (endpoint_id) ON DELETE CASCADE
);
CREATE TABLE endpoint_model_mappings (
	mapping_id VARCHAR(36) NOT NULL, 
	endpoint_id VARCHAR(36) NOT NULL, 
	model_definition_id VARCHAR(36) NOT NULL, 
	weight FLOAT NOT NULL, 
	created_by VARCHAR(255), 
	created_at BIGINT NOT NULL, linkage_type VARCHAR(64) DEFAULT 'PRIMARY' NOT NULL, fallback_order INTEGER, 
	CONSTRAINT endpoint_model_mappings_pk PRIMARY KEY (mapping_id), 
	CONSTRAINT fk_endpoint_model_mappings_endpoint_id FOREIGN KEY(endpoint_id) REFERENCES endpoints (endpoint_id) ON DELETE CASCADE, 
	CONSTRAINT fk_endpoint_model_mappings_model_definition_id FOREIGN KEY(model_definition_id) REFERENCES model_definitions (model_definition_id)
);
CREATE TABLE endpoint_tags (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(5000), 
	endpoint_id VARCHAR(36) NOT NULL, 
	CONSTRAINT endpoint_tag_pk PRIMARY KEY ("key", endpoint_id), 
	CONSTRAINT fk_endpoint_tags_endpoint_id FOREIGN KEY(endpoint_id) REFERENCES endpoints (endpoint_id) ON DELETE CASCADE
);
CREATE TABLE "endpoints" (
	endpoint_id VARCHAR(36) NOT NULL, 
	name VARCHAR(255), 
	created_by VARCHAR(255), 
	created_at BIGINT NOT NULL, 
	last_updated_by VARCHAR(255), 
	last_updated_at BIGINT NOT NULL, 
	routing_strategy VARCHAR(64), 
	fallback_config_json TEXT, 
	experiment_id INTEGER, 
	usage_tracking BOOLEAN DEFAULT '0' NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT endpoints_pk PRIMARY KEY (endpoint_id), 
	CONSTRAINT fk_endpoints_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id) ON DELETE SET NULL, 
	CONSTRAINT uq_endpoints_workspace_name UNIQUE (workspace, name)
);
CREATE TABLE entity_associations (
	association_id VARCHAR(36) NOT NULL, 
	source_type VARCHAR(36) NOT NULL, 
	source_id VARCHAR(36) NOT NULL, 
	destination_type VARCHAR(36) NOT NULL, 
	destination_id VARCHAR(36) NOT NULL, 
	created_time BIGINT, 
	CONSTRAINT entity_associations_pk PRIMARY KEY (source_type, source_id, destination_type, destination_id)
);
CREATE TABLE "evaluation_dataset_records" (
	dataset_record_id VARCHAR(36) NOT NULL, 
	dataset_id VARCHAR(36) NOT NULL, 
	inputs JSON NOT NULL, 
	expectations JSON, 
	tags JSON, 
	source JSON, 
	source_id VARCHAR(36), 
	source_type VARCHAR(255), 
	created_time BIGINT, 
	last_update_time BIGINT, 
	created_by VARCHAR(255), 
	last_updated_by VARCHAR(255), 
	input_hash VARCHAR(64) NOT NULL, outputs JSON, 
	CONSTRAINT evaluation_dataset_records_pk PRIMARY KEY (dataset_record_id), 
	CONSTRAINT fk_evaluation_dataset_records_dataset_id FOREIGN KEY(dataset_id) REFERENCES evaluation_datasets (dataset_id) ON DELETE CASCADE, 
	CONSTRAINT unique_dataset_input UNIQUE (dataset_id, input_hash)
);
CREATE TABLE evaluation_dataset_tags (
	dataset_id VARCHAR(36) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	value VARCHAR(5000), 
	CONSTRAINT evaluation_dataset_tags_pk PRIMARY KEY (dataset_id, "key"), 
	CONSTRAINT fk_evaluation_dataset_tags_dataset_id FOREIGN KEY(dataset_id) REFERENCES evaluation_datasets (dataset_id) ON DELETE CASCADE
);
CREATE TABLE "evaluation_datasets" (
	dataset_id VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	schema TEXT, 
	profile TEXT, 
	digest VARCHAR(64), 
	created_time BIGINT, 
	last_update_time BIGINT, 
	created_by VARCHAR(255), 
	last_updated_by VARCHAR(255), 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT evaluation_datasets_pk PRIMARY KEY (dataset_id)
);
CREATE TABLE "experiment_tags" (
	"key" VARCHAR(250) NOT NULL, 
	value TEXT, 
	experiment_id INTEGER NOT NULL, 
	CONSTRAINT experiment_tag_pk PRIMARY KEY ("key", experiment_id), 
	FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id)
);
CREATE TABLE "experiments" (
	experiment_id INTEGER NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	artifact_location VARCHAR(256), 
	lifecycle_stage VARCHAR(32), 
	creation_time BIGINT, 
	last_update_time BIGINT, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT experiment_pk PRIMARY KEY (experiment_id), 
	CONSTRAINT experiments_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')), 
	CONSTRAINT uq_experiments_workspace_name UNIQUE (workspace, name)
);
INSERT INTO "experiments" VALUES(0,'Default','@LEGACY@/artifacts/0','active',1795811449863,1795811449863,'default');
INSERT INTO "experiments" VALUES(1,'fmce','@LEGACY@/artifacts/1','active',1795811453054,1795811453054,'default');
CREATE TABLE guardrail_configs (
	endpoint_id VARCHAR(36) NOT NULL, 
	guardrail_id VARCHAR(36) NOT NULL, 
	execution_order INTEGER, 
	created_by VARCHAR(255), 
	created_at BIGINT NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT guardrail_configs_pk PRIMARY KEY (endpoint_id, guardrail_id), 
	CONSTRAINT fk_guardrail_configs_endpoint_id FOREIGN KEY(endpoint_id) REFERENCES endpoints (endpoint_id) ON DELETE CASCADE, 
	CONSTRAINT fk_guardrail_configs_guardrail_id FOREIGN KEY(guardrail_id) REFERENCES guardrails (guardrail_id) ON DELETE CASCADE
);
CREATE TABLE guardrails (
	guardrail_id VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	scorer_id VARCHAR(36) NOT NULL, 
	scorer_version INTEGER NOT NULL, 
	stage VARCHAR(32) NOT NULL, 
	action VARCHAR(32) NOT NULL, 
	action_endpoint_id VARCHAR(36), 
	created_by VARCHAR(255), 
	created_at BIGINT NOT NULL, 
	last_updated_by VARCHAR(255), 
	last_updated_at BIGINT NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT guardrails_pk PRIMARY KEY (guardrail_id), 
	CONSTRAINT fk_guardrails_scorer_version FOREIGN KEY(scorer_id, scorer_version) REFERENCES scorer_versions (scorer_id, scorer_version), 
	CONSTRAINT fk_guardrails_action_endpoint_id FOREIGN KEY(action_endpoint_id) REFERENCES endpoints (endpoint_id) ON DELETE SET NULL
);
CREATE TABLE input_tags (
	input_uuid VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	value VARCHAR(500) NOT NULL, 
	CONSTRAINT input_tags_pk PRIMARY KEY (input_uuid, name)
);
INSERT INTO "input_tags" VALUES('2faf434e7eb242768eb3015c4ba7f09d','mlflow.data.context','training');
INSERT INTO "input_tags" VALUES('49e4682a402e401f87559cfd2c1097b0','mlflow.data.context','training');
INSERT INTO "input_tags" VALUES('362165a809b44877aafa52bce666c0fb','mlflow.data.context','training');
INSERT INTO "input_tags" VALUES('52462dca34fe4343ae3fa6aa508b89e7','mlflow.data.context','training');
INSERT INTO "input_tags" VALUES('d44625082f824890b2e763fa026262c3','mlflow.data.context','evaluation');
INSERT INTO "input_tags" VALUES('cba89c31fd734434bbef26c48aaf5bdb','mlflow.data.context','evaluation');
CREATE TABLE inputs (
	input_uuid VARCHAR(36) NOT NULL, 
	source_type VARCHAR(36) NOT NULL, 
	source_id VARCHAR(36) NOT NULL, 
	destination_type VARCHAR(36) NOT NULL, 
	destination_id VARCHAR(36) NOT NULL, step BIGINT DEFAULT '0' NOT NULL, 
	CONSTRAINT inputs_pk PRIMARY KEY (source_type, source_id, destination_type, destination_id)
);
INSERT INTO "inputs" VALUES('84e34ccfc82f4757ad7bb810e954dd50','RUN_OUTPUT','fdd60a53da8a4d7ba34d6a3cb08c4eeb','MODEL_OUTPUT','m-e031f0a98b3b4b96a2d864c816fdd5be',8);
INSERT INTO "inputs" VALUES('7b64c66151044a8f826c665cf6acacde','RUN_OUTPUT','80284407420c4d30a51d4afd21a56f85','MODEL_OUTPUT','m-6b1a80c60fe449d6bdd1e8835eec79d1',8);
INSERT INTO "inputs" VALUES('d5248541fe2d49c8a6157ad5de04f55a','RUN_OUTPUT','8fef112dec9b4c99beb4bea26a348b5e','MODEL_OUTPUT','m-6ea8f295f73f4d90aa01c15c658ea227',8);
INSERT INTO "inputs" VALUES('2faf434e7eb242768eb3015c4ba7f09d','DATASET','e9809ac4dd074c73bc6f0c3384b2f14e','RUN','4a8e1e0c3e654d40b1973150bc7b4cef',0);
INSERT INTO "inputs" VALUES('49e4682a402e401f87559cfd2c1097b0','DATASET','e9809ac4dd074c73bc6f0c3384b2f14e','RUN','cf568fe3443c4ef9881304f710a94e89',0);
INSERT INTO "inputs" VALUES('c24f499b30fc41a49417447b7bac59da','RUN_OUTPUT','cf568fe3443c4ef9881304f710a94e89','MODEL_OUTPUT','m-475529a4d09e42e0abd4f1812c347c3c',0);
INSERT INTO "inputs" VALUES('362165a809b44877aafa52bce666c0fb','DATASET','e9809ac4dd074c73bc6f0c3384b2f14e','RUN','5d0150734975413a8c1e32c51e5fa811',0);
INSERT INTO "inputs" VALUES('e380eef41b83429daae2e7543a56dd5f','RUN_OUTPUT','5d0150734975413a8c1e32c51e5fa811','MODEL_OUTPUT','m-ebd564e0d5d348fa843f65fed835e2c4',0);
INSERT INTO "inputs" VALUES('52462dca34fe4343ae3fa6aa508b89e7','DATASET','e9809ac4dd074c73bc6f0c3384b2f14e','RUN','6af4ef83762a4edfa13ed58f33c078bb',0);
INSERT INTO "inputs" VALUES('e0bfc07aa35d410080edb68549c71569','RUN_OUTPUT','6af4ef83762a4edfa13ed58f33c078bb','MODEL_OUTPUT','m-2336080fdd2a482bb785f65feb6e4581',0);
INSERT INTO "inputs" VALUES('fe382271647a4d2795622b3e74e85237','RUN_OUTPUT','800b8e398cde4953b43d17823d140b44','MODEL_OUTPUT','m-2336080fdd2a482bb785f65feb6e4581',0);
INSERT INTO "inputs" VALUES('006db16ad3434e48be8fec10efb545f7','RUN_INPUT','ee7fb6a60d2b424488ba7744918eb153','MODEL_INPUT','m-e031f0a98b3b4b96a2d864c816fdd5be',0);
INSERT INTO "inputs" VALUES('d44625082f824890b2e763fa026262c3','DATASET','39ed8bf96a214c6db8d1bab315fe54e9','RUN','ee7fb6a60d2b424488ba7744918eb153',0);
INSERT INTO "inputs" VALUES('083e3da9e8d4478e82d2187016f1a670','RUN_INPUT','c1905a9d7178459790004867050bf666','MODEL_INPUT','m-e031f0a98b3b4b96a2d864c816fdd5be',0);
INSERT INTO "inputs" VALUES('cba89c31fd734434bbef26c48aaf5bdb','DATASET','39ed8bf96a214c6db8d1bab315fe54e9','RUN','c1905a9d7178459790004867050bf666',0);
CREATE TABLE issues (
	issue_id VARCHAR(36) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	name VARCHAR(250) NOT NULL, 
	description TEXT NOT NULL, 
	status VARCHAR(50) NOT NULL, 
	severity VARCHAR(50), 
	root_causes TEXT, 
	source_run_id VARCHAR(32), 
	categories TEXT, 
	created_timestamp BIGINT NOT NULL, 
	last_updated_timestamp BIGINT NOT NULL, 
	created_by VARCHAR(255), 
	CONSTRAINT issues_pk PRIMARY KEY (issue_id), 
	CONSTRAINT fk_issues_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id) ON DELETE CASCADE, 
	CONSTRAINT fk_issues_source_run_id FOREIGN KEY(source_run_id) REFERENCES runs (run_uuid) ON DELETE SET NULL
);
CREATE TABLE job_locks (
	lock_key VARCHAR(255) NOT NULL, 
	job_id VARCHAR(36) NOT NULL, 
	acquired_at BIGINT NOT NULL, 
	CONSTRAINT job_locks_pk PRIMARY KEY (lock_key), 
	CONSTRAINT fk_job_locks_job_id FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE
);
CREATE TABLE "jobs" (
	id VARCHAR(36) NOT NULL, 
	creation_time BIGINT NOT NULL, 
	job_name VARCHAR(500) NOT NULL, 
	params TEXT NOT NULL, 
	timeout FLOAT, 
	status INTEGER NOT NULL, 
	result TEXT, 
	retry_count INTEGER NOT NULL, 
	last_update_time BIGINT NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, status_details JSON, creator VARCHAR(255), executor_backend VARCHAR(255), lease_expires_at BIGINT, status_message TEXT, progress JSON, progress_updated_at BIGINT, token_hash VARCHAR(64), scoped_permissions JSON, next_attempt_at BIGINT, 
	CONSTRAINT jobs_pk PRIMARY KEY (id)
);
CREATE TABLE label_schemas (
	schema_id VARCHAR(36) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	name VARCHAR(250) NOT NULL, 
	type VARCHAR(16) NOT NULL, 
	instruction TEXT, 
	enable_comment BOOLEAN DEFAULT '0' NOT NULL, 
	input_type VARCHAR(32) NOT NULL, 
	input_config TEXT NOT NULL, 
	created_by VARCHAR(255), 
	created_time BIGINT NOT NULL, 
	last_update_time BIGINT NOT NULL, 
	is_default BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT label_schemas_pk PRIMARY KEY (schema_id), 
	CONSTRAINT fk_label_schemas_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id) ON DELETE CASCADE, 
	CONSTRAINT uq_label_schemas_exp_name UNIQUE (experiment_id, name)
);
CREATE TABLE "latest_metrics" (
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT NOT NULL, 
	timestamp BIGINT, 
	step BIGINT NOT NULL, 
	is_nan BOOLEAN NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT latest_metric_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid), 
	CHECK (is_nan IN (0, 1))
);
INSERT INTO "latest_metrics" VALUES('train_loss',2.33297988772392272949e-01,1795811453867,8,0,'fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "latest_metrics" VALUES('val_loss',9.83139359951019309313e-01,1795811453867,8,0,'fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "latest_metrics" VALUES('val_accuracy',0.725,1795811453867,8,0,'fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "latest_metrics" VALUES('epoch',4.0,1795811453867,8,0,'fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "latest_metrics" VALUES('images_per_second',5576.6189099105,1795811453867,8,0,'fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "latest_metrics" VALUES('focus/stage',1.43534351367600371274e-01,1795811453867,8,0,'fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "latest_metrics" VALUES('drift/stage',6.94583246569902e-05,1795811453867,8,0,'fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "latest_metrics" VALUES('fmcs',1.0,1795811454003,8,0,'fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "latest_metrics" VALUES('cqi',7.88244221685657914244e-02,1795811454003,8,0,'fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "latest_metrics" VALUES('train_loss',4.01884406805038452148e-01,1795811480999,8,0,'80284407420c4d30a51d4afd21a56f85');
INSERT INTO "latest_metrics" VALUES('val_loss',7.54502236843109130859e-01,1795811480999,8,0,'80284407420c4d30a51d4afd21a56f85');
INSERT INTO "latest_metrics" VALUES('val_accuracy',0.775,1795811480999,8,0,'80284407420c4d30a51d4afd21a56f85');
INSERT INTO "latest_metrics" VALUES('epoch',4.0,1795811480999,8,0,'80284407420c4d30a51d4afd21a56f85');
INSERT INTO "latest_metrics" VALUES('images_per_second',4.01165754254113971931e+03,1795811480999,8,0,'80284407420c4d30a51d4afd21a56f85');
INSERT INTO "latest_metrics" VALUES('focus/stage',1.1958754960173985371e-01,1795811480999,8,0,'80284407420c4d30a51d4afd21a56f85');
INSERT INTO "latest_metrics" VALUES('drift/stage',1.95044397213406384139e-04,1795811480999,8,0,'80284407420c4d30a51d4afd21a56f85');
INSERT INTO "latest_metrics" VALUES('fmcs',1.0,1795811481251,8,0,'80284407420c4d30a51d4afd21a56f85');
INSERT INTO "latest_metrics" VALUES('cqi',5.58775276370508736101e-02,1795811481251,8,0,'80284407420c4d30a51d4afd21a56f85');
INSERT INTO "latest_metrics" VALUES('train_loss',3.80777448415756225585e-01,1795811509047,8,0,'8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "latest_metrics" VALUES('val_loss',8.49417877197265580591e-01,1795811509047,8,0,'8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "latest_metrics" VALUES('val_accuracy',0.75,1795811509047,8,0,'8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "latest_metrics" VALUES('epoch',4.0,1795811509047,8,0,'8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "latest_metrics" VALUES('images_per_second',7.73990812711425860484e+03,1795811509047,8,0,'8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "latest_metrics" VALUES('focus/stage',1.42440768413647750323e-01,1795811509047,8,0,'8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "latest_metrics" VALUES('drift/stage',5.22427615141651813246e-05,1795811509047,8,0,'8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "latest_metrics" VALUES('fmcs',1.0,1795811509315,8,0,'8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "latest_metrics" VALUES('cqi',6.05953668018744621287e-03,1795811509315,8,0,'8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "latest_metrics" VALUES('fmcs_dataset/rows',21.0,1795811532843,0,0,'4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "latest_metrics" VALUES('fmcs_dataset/runs',3.0,1795811532843,0,0,'4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "latest_metrics" VALUES('fmcs_dataset/modules',1.0,1795811532843,0,0,'4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "latest_metrics" VALUES('fmcs_dataset/markers',9.0,1795811532843,0,0,'4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "latest_metrics" VALUES('fmcs_dataset/left_out',0.0,1795811532843,0,0,'4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "latest_metrics" VALUES('fmcs_dataset/unlabelled',0.0,1795811532843,0,0,'4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "latest_metrics" VALUES('run/mae',3.38020036617914854115e-01,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/accuracy',3.33333333333333314829e-01,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/within_one',1.0,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/precision',1.11111111111111104943e-01,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/level_0/precision',0.0,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/level_1/precision',3.33333333333333314829e-01,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/level_2/precision',0.0,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/recall',3.33333333333333314829e-01,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/level_0/recall',0.0,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/level_1/recall',1.0,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/level_2/recall',0.0,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/f1',1.66666666666666657414e-01,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/level_0/f1',0.0,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/level_1/f1',0.5,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/level_2/f1',0.0,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/spearman',-1.0,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/spearman_lowest',-1.0,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/coverage',1.0,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/width',1.0,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('run/maps',3.0,0,0,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('validation_mae',3.84973242878913879394e-01,0,12,0,'cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "latest_metrics" VALUES('images/mae',2.421857934622537456e-01,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/accuracy',7.77777777777777790113e-01,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/within_one',1.0,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/precision',8.66666666666666696272e-01,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/level_0/precision',1.0,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/level_1/precision',0.6,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/level_2/precision',1.0,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/recall',7.77777777777777679091e-01,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/level_0/recall',6.66666666666666629659e-01,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/level_1/recall',1.0,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/level_2/recall',6.66666666666666629659e-01,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/f1',7.83333333333333325931e-01,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/level_0/f1',0.8,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/level_1/f1',0.75,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/level_2/f1',0.8,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/spearman',1.0,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/spearman_lowest',1.0,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/coverage',1.0,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/width',9.17137504053290308903e-01,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/maps',21.0,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('images/image_accuracy',7.63888888888888839545e-01,0,0,0,'5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "latest_metrics" VALUES('validation_mae',3.9886760711669921875e-01,1795811599852,12,0,'50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "latest_metrics" VALUES('duration',6.989622,1795811599834,0,0,'50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "latest_metrics" VALUES('best_validation_mae',3.89747798442840576171e-01,1795811599834,0,0,'50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "latest_metrics" VALUES('validation_mae',0.396441325545311,1795811600515,12,0,'a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "latest_metrics" VALUES('duration',0.566422,1795811600500,0,0,'a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "latest_metrics" VALUES('best_validation_mae',3.91890510916709899902e-01,1795811600500,0,0,'a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "latest_metrics" VALUES('validation_mae',3.90604808926582336425e-01,1795811601451,12,0,'df585279a62d469f9a16573d370ef1a1');
INSERT INTO "latest_metrics" VALUES('duration',0.873,1795811601447,0,0,'df585279a62d469f9a16573d370ef1a1');
INSERT INTO "latest_metrics" VALUES('best_validation_mae',3.90081822872161865234e-01,1795811601447,0,0,'df585279a62d469f9a16573d370ef1a1');
INSERT INTO "latest_metrics" VALUES('trials/waiting',0.0,1795811601676,3,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('trials/running',0.0,1795811601676,3,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('trials/complete',3.0,1795811601676,3,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('trials/pruned',0.0,1795811601676,3,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('trials/failed',0.0,1795811601676,3,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('trials/retried',0.0,1795811601676,3,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('best_validation_mae',3.89747798442840576171e-01,1795811601676,3,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/mae',3.3766810099283856017e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/accuracy',3.33333333333333314829e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/within_one',1.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/precision',1.11111111111111104943e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/level_0/precision',0.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/level_1/precision',3.33333333333333314829e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/level_2/precision',0.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/recall',3.33333333333333314829e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/level_0/recall',0.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/level_1/recall',1.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/level_2/recall',0.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/f1',1.66666666666666657414e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/level_0/f1',0.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/level_1/f1',0.5,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/level_2/f1',0.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/spearman',5.00000000000000111022e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/spearman_lowest',5.00000000000000111022e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/coverage',6.66666666666666629659e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/width',0.977436367568615,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/maps',3.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/majority_level/mae',0.5,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/majority_level/accuracy',3.33333333333333314829e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/majority_level/within_one',6.66666666666666629659e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/majority_level/precision',1.11111111111111104943e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/majority_level/recall',3.33333333333333314829e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/majority_level/f1',1.66666666666666657414e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/majority_level/spearman',0.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/majority_level/spearman_lowest',0.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/majority_level/maps',3.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/activation_deviation/mae',8.33333333333333287074e-02,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/activation_deviation/accuracy',1.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/activation_deviation/within_one',1.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/activation_deviation/precision',1.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/activation_deviation/recall',1.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/activation_deviation/f1',1.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/activation_deviation/spearman',1.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/activation_deviation/spearman_lowest',1.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/activation_deviation/maps',3.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/effective_rank/mae',0.5,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/effective_rank/accuracy',3.33333333333333314829e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/effective_rank/within_one',6.66666666666666629659e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/effective_rank/precision',1.11111111111111104943e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/effective_rank/recall',3.33333333333333314829e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/effective_rank/f1',1.66666666666666657414e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/effective_rank/spearman',0.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/effective_rank/spearman_lowest',0.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/effective_rank/maps',3.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/extra_trees/mae',0.32375,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/extra_trees/accuracy',6.66666666666666629659e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/extra_trees/within_one',1.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/extra_trees/precision',0.5,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/extra_trees/recall',6.66666666666666629659e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/extra_trees/f1',5.55555555555555469204e-01,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/extra_trees/spearman',1.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/extra_trees/spearman_lowest',1.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/extra_trees/maps',3.0,0,0,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('validation_mae',3.8220551609992980957e-01,0,12,0,'6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "latest_metrics" VALUES('run/mae',3.3766810099283856017e-01,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/accuracy',3.33333333333333314829e-01,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/within_one',1.0,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/precision',1.11111111111111104943e-01,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/level_0/precision',0.0,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/level_1/precision',3.33333333333333314829e-01,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/level_2/precision',0.0,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/recall',3.33333333333333314829e-01,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/level_0/recall',0.0,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/level_1/recall',1.0,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/level_2/recall',0.0,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/f1',1.66666666666666657414e-01,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/level_0/f1',0.0,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/level_1/f1',0.5,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/level_2/f1',0.0,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/spearman',5.00000000000000111022e-01,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/spearman_lowest',5.00000000000000111022e-01,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/coverage',6.66666666666666629659e-01,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/width',0.977436367568615,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('run/maps',3.0,1795811609403,0,0,'800b8e398cde4953b43d17823d140b44');
INSERT INTO "latest_metrics" VALUES('fmcs_predicted',0.496879480779171,1795811645495,0,0,'ee7fb6a60d2b424488ba7744918eb153');
INSERT INTO "latest_metrics" VALUES('fmcs_predicted/stage',0.496879480779171,1795811645495,0,0,'ee7fb6a60d2b424488ba7744918eb153');
INSERT INTO "latest_metrics" VALUES('fmcs_std/stage',3.16323556672610695095e-01,1795811645495,0,0,'ee7fb6a60d2b424488ba7744918eb153');
INSERT INTO "latest_metrics" VALUES('fmcs_measured',1.0,1795811645495,0,0,'ee7fb6a60d2b424488ba7744918eb153');
INSERT INTO "latest_metrics" VALUES('fmcs_predicted',7.22314959391951560974e-01,1795811675751,0,0,'c1905a9d7178459790004867050bf666');
INSERT INTO "latest_metrics" VALUES('fmcs_predicted/stage',7.22314959391951560974e-01,1795811675751,0,0,'c1905a9d7178459790004867050bf666');
INSERT INTO "latest_metrics" VALUES('fmcs_std/stage',3.29988794115361749881e-01,1795811675751,0,0,'c1905a9d7178459790004867050bf666');
INSERT INTO "latest_metrics" VALUES('fmcs_measured',1.0,1795811675751,0,0,'c1905a9d7178459790004867050bf666');
INSERT INTO "latest_metrics" VALUES('train_loss',1.18847405910491943359e+00,1795811709440,3,0,'ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "latest_metrics" VALUES('val_loss',1.22518143653869637788e+00,1795811709440,3,0,'ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "latest_metrics" VALUES('val_accuracy',0.625,1795811709440,3,0,'ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "latest_metrics" VALUES('epoch',1.5,1795811709440,3,0,'ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "latest_metrics" VALUES('images_per_second',1.46504910187587097424e+03,1795811709440,3,0,'ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "latest_metrics" VALUES('focus/stage',0.0,1795811709440,3,0,'ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "latest_metrics" VALUES('drift/stage',3.32711794428296459003e-02,1795811709440,3,0,'ba1c929be1d24ac18306cd4288ba1352');
CREATE TABLE logged_model_metrics (
	model_id VARCHAR(36) NOT NULL, 
	metric_name VARCHAR(500) NOT NULL, 
	metric_timestamp_ms BIGINT NOT NULL, 
	metric_step BIGINT NOT NULL, 
	metric_value FLOAT, 
	experiment_id INTEGER NOT NULL, 
	run_id VARCHAR(32) NOT NULL, 
	dataset_uuid VARCHAR(36), 
	dataset_name VARCHAR(500), 
	dataset_digest VARCHAR(36), 
	CONSTRAINT logged_model_metrics_pk PRIMARY KEY (model_id, metric_name, metric_timestamp_ms, metric_step, run_id), 
	CONSTRAINT fk_logged_model_metrics_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CONSTRAINT fk_logged_model_metrics_model_id FOREIGN KEY(model_id) REFERENCES logged_models (model_id) ON DELETE CASCADE, 
	CONSTRAINT fk_logged_model_metrics_run_id FOREIGN KEY(run_id) REFERENCES runs (run_uuid) ON DELETE CASCADE
);
INSERT INTO "logged_model_metrics" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be','train_loss',1795811453867,8,2.33297988772392272949e-01,1,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be','val_loss',1795811453867,8,9.83139359951019309313e-01,1,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be','val_accuracy',1795811453867,8,0.725,1,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be','epoch',1795811453867,8,4.0,1,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be','images_per_second',1795811453867,8,5576.6189099105,1,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be','focus/stage',1795811453867,8,1.43534351367600371274e-01,1,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be','drift/stage',1795811453867,8,6.94583246569902e-05,1,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be','fmcs',1795811454003,8,1.0,1,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be','cqi',1795811454003,8,7.88244221685657914244e-02,1,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1','train_loss',1795811480999,8,4.01884406805038452148e-01,1,'80284407420c4d30a51d4afd21a56f85',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1','val_loss',1795811480999,8,7.54502236843109130859e-01,1,'80284407420c4d30a51d4afd21a56f85',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1','val_accuracy',1795811480999,8,0.775,1,'80284407420c4d30a51d4afd21a56f85',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1','epoch',1795811480999,8,4.0,1,'80284407420c4d30a51d4afd21a56f85',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1','images_per_second',1795811480999,8,4.01165754254113971931e+03,1,'80284407420c4d30a51d4afd21a56f85',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1','focus/stage',1795811480999,8,1.1958754960173985371e-01,1,'80284407420c4d30a51d4afd21a56f85',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1','drift/stage',1795811480999,8,1.95044397213406384139e-04,1,'80284407420c4d30a51d4afd21a56f85',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1','fmcs',1795811481251,8,1.0,1,'80284407420c4d30a51d4afd21a56f85',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1','cqi',1795811481251,8,5.58775276370508736101e-02,1,'80284407420c4d30a51d4afd21a56f85',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227','train_loss',1795811509047,8,3.80777448415756225585e-01,1,'8fef112dec9b4c99beb4bea26a348b5e',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227','val_loss',1795811509047,8,8.49417877197265580591e-01,1,'8fef112dec9b4c99beb4bea26a348b5e',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227','val_accuracy',1795811509047,8,0.75,1,'8fef112dec9b4c99beb4bea26a348b5e',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227','epoch',1795811509047,8,4.0,1,'8fef112dec9b4c99beb4bea26a348b5e',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227','images_per_second',1795811509047,8,7.73990812711425860484e+03,1,'8fef112dec9b4c99beb4bea26a348b5e',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227','focus/stage',1795811509047,8,1.42440768413647750323e-01,1,'8fef112dec9b4c99beb4bea26a348b5e',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227','drift/stage',1795811509047,8,5.22427615141651813246e-05,1,'8fef112dec9b4c99beb4bea26a348b5e',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227','fmcs',1795811509315,8,1.0,1,'8fef112dec9b4c99beb4bea26a348b5e',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227','cqi',1795811509315,8,6.05953668018744621287e-03,1,'8fef112dec9b4c99beb4bea26a348b5e',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/mae',0,0,3.38020036617914854115e-01,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/accuracy',0,0,3.33333333333333314829e-01,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/within_one',0,0,1.0,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/precision',0,0,1.11111111111111104943e-01,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/level_0/precision',0,0,0.0,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/level_1/precision',0,0,3.33333333333333314829e-01,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/level_2/precision',0,0,0.0,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/recall',0,0,3.33333333333333314829e-01,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/level_0/recall',0,0,0.0,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/level_1/recall',0,0,1.0,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/level_2/recall',0,0,0.0,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/f1',0,0,1.66666666666666657414e-01,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/level_0/f1',0,0,0.0,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/level_1/f1',0,0,0.5,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/level_2/f1',0,0,0.0,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/spearman',0,0,-1.0,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/spearman_lowest',0,0,-1.0,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/coverage',0,0,1.0,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/width',0,0,1.0,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-475529a4d09e42e0abd4f1812c347c3c','run/maps',0,0,3.0,1,'cf568fe3443c4ef9881304f710a94e89',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/mae',0,0,2.421857934622537456e-01,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/accuracy',0,0,7.77777777777777790113e-01,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/within_one',0,0,1.0,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/precision',0,0,8.66666666666666696272e-01,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/level_0/precision',0,0,1.0,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/level_1/precision',0,0,0.6,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/level_2/precision',0,0,1.0,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/recall',0,0,7.77777777777777679091e-01,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/level_0/recall',0,0,6.66666666666666629659e-01,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/level_1/recall',0,0,1.0,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/level_2/recall',0,0,6.66666666666666629659e-01,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/f1',0,0,7.83333333333333325931e-01,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/level_0/f1',0,0,0.8,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/level_1/f1',0,0,0.75,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/level_2/f1',0,0,0.8,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/spearman',0,0,1.0,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/spearman_lowest',0,0,1.0,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/coverage',0,0,1.0,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/width',0,0,9.17137504053290308903e-01,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/maps',0,0,21.0,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4','images/image_accuracy',0,0,7.63888888888888839545e-01,1,'5d0150734975413a8c1e32c51e5fa811',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/mae',0,0,3.3766810099283856017e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/accuracy',0,0,3.33333333333333314829e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/within_one',0,0,1.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/precision',0,0,1.11111111111111104943e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/level_0/precision',0,0,0.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/level_1/precision',0,0,3.33333333333333314829e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/level_2/precision',0,0,0.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/recall',0,0,3.33333333333333314829e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/level_0/recall',0,0,0.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/level_1/recall',0,0,1.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/level_2/recall',0,0,0.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/f1',0,0,1.66666666666666657414e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/level_0/f1',0,0,0.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/level_1/f1',0,0,0.5,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/level_2/f1',0,0,0.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/spearman',0,0,5.00000000000000111022e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/spearman_lowest',0,0,5.00000000000000111022e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/coverage',0,0,6.66666666666666629659e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/width',0,0,0.977436367568615,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/maps',0,0,3.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/majority_level/mae',0,0,0.5,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/majority_level/accuracy',0,0,3.33333333333333314829e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/majority_level/within_one',0,0,6.66666666666666629659e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/majority_level/precision',0,0,1.11111111111111104943e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/majority_level/recall',0,0,3.33333333333333314829e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/majority_level/f1',0,0,1.66666666666666657414e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/majority_level/spearman',0,0,0.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/majority_level/spearman_lowest',0,0,0.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/majority_level/maps',0,0,3.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/activation_deviation/mae',0,0,8.33333333333333287074e-02,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/activation_deviation/accuracy',0,0,1.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/activation_deviation/within_one',0,0,1.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/activation_deviation/precision',0,0,1.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/activation_deviation/recall',0,0,1.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/activation_deviation/f1',0,0,1.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/activation_deviation/spearman',0,0,1.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/activation_deviation/spearman_lowest',0,0,1.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/activation_deviation/maps',0,0,3.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/effective_rank/mae',0,0,0.5,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/effective_rank/accuracy',0,0,3.33333333333333314829e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/effective_rank/within_one',0,0,6.66666666666666629659e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/effective_rank/precision',0,0,1.11111111111111104943e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/effective_rank/recall',0,0,3.33333333333333314829e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/effective_rank/f1',0,0,1.66666666666666657414e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/effective_rank/spearman',0,0,0.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/effective_rank/spearman_lowest',0,0,0.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/effective_rank/maps',0,0,3.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/extra_trees/mae',0,0,0.32375,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/extra_trees/accuracy',0,0,6.66666666666666629659e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/extra_trees/within_one',0,0,1.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/extra_trees/precision',0,0,0.5,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/extra_trees/recall',0,0,6.66666666666666629659e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/extra_trees/f1',0,0,5.55555555555555469204e-01,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/extra_trees/spearman',0,0,1.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/extra_trees/spearman_lowest',0,0,1.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-2336080fdd2a482bb785f65feb6e4581','run/extra_trees/maps',0,0,3.0,1,'6af4ef83762a4edfa13ed58f33c078bb',NULL,NULL,NULL);
INSERT INTO "logged_model_metrics" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be','fmcs_predicted',1795811645495,0,0.496879480779171,1,'ee7fb6a60d2b424488ba7744918eb153',NULL,'digits, held out','a77421ba');
INSERT INTO "logged_model_metrics" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be','fmcs_predicted/stage',1795811645495,0,0.496879480779171,1,'ee7fb6a60d2b424488ba7744918eb153',NULL,'digits, held out','a77421ba');
INSERT INTO "logged_model_metrics" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be','fmcs_std/stage',1795811645495,0,3.16323556672610695095e-01,1,'ee7fb6a60d2b424488ba7744918eb153',NULL,'digits, held out','a77421ba');
INSERT INTO "logged_model_metrics" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be','fmcs_measured',1795811645495,0,1.0,1,'ee7fb6a60d2b424488ba7744918eb153',NULL,'digits, held out','a77421ba');
INSERT INTO "logged_model_metrics" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be','fmcs_predicted',1795811675751,0,7.22314959391951560974e-01,1,'c1905a9d7178459790004867050bf666',NULL,'digits, held out','a77421ba');
INSERT INTO "logged_model_metrics" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be','fmcs_predicted/stage',1795811675751,0,7.22314959391951560974e-01,1,'c1905a9d7178459790004867050bf666',NULL,'digits, held out','a77421ba');
INSERT INTO "logged_model_metrics" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be','fmcs_std/stage',1795811675751,0,3.29988794115361749881e-01,1,'c1905a9d7178459790004867050bf666',NULL,'digits, held out','a77421ba');
INSERT INTO "logged_model_metrics" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be','fmcs_measured',1795811675751,0,1.0,1,'c1905a9d7178459790004867050bf666',NULL,'digits, held out','a77421ba');
CREATE TABLE logged_model_params (
	model_id VARCHAR(36) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	param_key VARCHAR(255) NOT NULL, 
	param_value TEXT NOT NULL, 
	CONSTRAINT logged_model_params_pk PRIMARY KEY (model_id, param_key), 
	CONSTRAINT fk_logged_model_params_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CONSTRAINT fk_logged_model_params_model_id FOREIGN KEY(model_id) REFERENCES logged_models (model_id) ON DELETE CASCADE
);
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'backbone','tests.data.legacy_net:tiny');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'dataset','digits');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'data_root','data');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'download','False');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'modules','stage');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'stem','auto');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'image_size','8');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'train_size','96');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'validation_size','40');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'probe_size','16');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'split_seed','0');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'map_size','');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'keep','all');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'signal','train');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'log_checkpoints','False');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'model_format','pt2');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'register_as','legacy');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'epochs','4');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'snapshots_per_epoch','2');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'batch_size','16');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'gradient_accumulation','1');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'optimizer','adamw');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'lr','0.05');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'momentum','0.9');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'weight_decay','0.01');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'schedule','cosine');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'warmup_epochs','1.0');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'label_smoothing','0.0');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'augmentation','none');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'precision','no');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'channels_last','False');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'seed','0');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'num_workers','0');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'cpu','True');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'smoothing','0.0');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'window','1');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'threshold','0.25');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'aggregation','mean');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'rule','settled');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'levels','3');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'spacing','time');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'input_size','8x8');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'stem_used','stock');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'modules_used','stage');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'train_images','96');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'validation_images','40');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'probe_images','16');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'probe_sha256','e5b9dc559f20dfc3a55361a3fd9fab31a5a828858c38950f5e0f1ef4998064eb');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'classes','10');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'processes','1');
INSERT INTO "logged_model_params" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'device','cpu');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'backbone','tests.data.legacy_net:tiny');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'dataset','digits');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'data_root','data');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'download','False');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'modules','stage');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'stem','auto');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'image_size','8');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'train_size','96');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'validation_size','40');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'probe_size','16');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'split_seed','0');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'map_size','');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'keep','all');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'signal','train');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'log_checkpoints','False');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'model_format','pickle');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'register_as','');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'epochs','4');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'snapshots_per_epoch','2');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'batch_size','16');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'gradient_accumulation','1');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'optimizer','adamw');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'lr','0.05');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'momentum','0.9');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'weight_decay','0.01');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'schedule','cosine');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'warmup_epochs','1.0');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'label_smoothing','0.0');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'augmentation','none');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'precision','no');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'channels_last','False');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'seed','1');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'num_workers','0');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'cpu','True');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'smoothing','0.0');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'window','1');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'threshold','0.25');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'aggregation','mean');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'rule','settled');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'levels','3');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'spacing','time');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'input_size','8x8');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'stem_used','stock');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'modules_used','stage');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'train_images','96');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'validation_images','40');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'probe_images','16');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'probe_sha256','e5b9dc559f20dfc3a55361a3fd9fab31a5a828858c38950f5e0f1ef4998064eb');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'classes','10');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'processes','1');
INSERT INTO "logged_model_params" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'device','cpu');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'backbone','tests.data.legacy_net:tiny');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'dataset','digits');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'data_root','data');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'download','False');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'modules','stage');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'stem','auto');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'image_size','8');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'train_size','96');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'validation_size','40');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'probe_size','16');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'split_seed','0');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'map_size','');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'keep','markers');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'signal','train');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'log_checkpoints','False');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'model_format','pickle');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'register_as','');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'epochs','4');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'snapshots_per_epoch','2');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'batch_size','16');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'gradient_accumulation','1');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'optimizer','adamw');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'lr','0.05');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'momentum','0.9');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'weight_decay','0.01');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'schedule','cosine');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'warmup_epochs','1.0');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'label_smoothing','0.0');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'augmentation','none');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'precision','no');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'channels_last','False');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'seed','2');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'num_workers','0');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'cpu','True');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'smoothing','0.0');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'window','1');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'threshold','0.25');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'aggregation','mean');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'rule','settled');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'levels','3');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'spacing','time');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'input_size','8x8');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'stem_used','stock');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'modules_used','stage');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'train_images','96');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'validation_images','40');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'probe_images','16');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'probe_sha256','e5b9dc559f20dfc3a55361a3fd9fab31a5a828858c38950f5e0f1ef4998064eb');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'classes','10');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'processes','1');
INSERT INTO "logged_model_params" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'device','cpu');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'kind','set');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'protocols','run');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'cross_validate','False');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'bags.bag_size','8');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'bags.bags_per_map','2');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'bags.test_share','0.5');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'bags.seed','0');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'net.statistics','both');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'net.reference','False');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'net.scaling','standard');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'net.width','16');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'net.depth','2');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'net.dropout','0.2');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'net.input_dropout','0.2');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'net.members','1');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'fit.epochs','12');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'fit.patience','40');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'fit.folds','2');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'fit.batch_size','32');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'fit.lr','0.002');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'fit.weight_decay','0.01');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'fit.label_width','0.05');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'fit.averaging','0.98');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'fit.noise','0.0');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'fit.seed','0');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'fmcs_run_used','4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "logged_model_params" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'levels','3');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'kind','outline');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'protocols','images');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'cross_validate','False');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'bags.bag_size','8');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'bags.bags_per_map','2');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'bags.test_share','0.5');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'bags.seed','0');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'net.features','8');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'net.blocks','1');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'net.heads','2');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'net.dropout','0.2');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'fit.epochs','12');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'fit.patience','40');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'fit.folds','2');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'fit.batch_size','32');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'fit.lr','0.002');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'fit.weight_decay','0.01');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'fit.label_width','0.05');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'fit.averaging','0.98');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'fit.noise','0.0');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'fit.seed','0');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'fmcs_run_used','4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "logged_model_params" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'levels','3');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'kind','set');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'protocols','run');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'cross_validate','False');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'bags.bag_size','8');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'bags.bags_per_map','2');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'bags.test_share','0.5');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'bags.seed','0');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'net.statistics','both');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'net.reference','True');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'net.scaling','standard');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'net.width','16');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'net.depth','1');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'net.dropout','0.21182739966945235');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'net.input_dropout','0.32294705653332806');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'net.members','1');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'fit.epochs','12');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'fit.patience','40');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'fit.folds','2');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'fit.batch_size','16');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'fit.lr','0.0013915971093684705');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'fit.weight_decay','0.12612548678037216');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'fit.label_width','0.07288949197529045');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'fit.averaging','0.9');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'fit.noise','0.006065519232097715');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'fit.seed','0');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'fmcs_run_used','4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "logged_model_params" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'levels','3');
CREATE TABLE logged_model_tags (
	model_id VARCHAR(36) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	tag_key VARCHAR(255) NOT NULL, 
	tag_value TEXT NOT NULL, 
	CONSTRAINT logged_model_tags_pk PRIMARY KEY (model_id, tag_key), 
	CONSTRAINT fk_logged_model_tags_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CONSTRAINT fk_logged_model_tags_model_id FOREIGN KEY(model_id) REFERENCES logged_models (model_id) ON DELETE CASCADE
);
INSERT INTO "logged_model_tags" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'mlflow.modelVersions','[{"name": "legacy", "version": "1"}]');
INSERT INTO "logged_model_tags" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'mlflow.modelVersions','[{"name": "legacy-set", "version": "1"}]');
INSERT INTO "logged_model_tags" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'mlflow.modelVersions','[{"name": "legacy-outline", "version": "1"}]');
INSERT INTO "logged_model_tags" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'mlflow.modelVersions','[{"name": "legacy-tuned", "version": "1"}]');
CREATE TABLE logged_models (
	model_id VARCHAR(36) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	name VARCHAR(500) NOT NULL, 
	artifact_location VARCHAR(1000) NOT NULL, 
	creation_timestamp_ms BIGINT NOT NULL, 
	last_updated_timestamp_ms BIGINT NOT NULL, 
	status INTEGER NOT NULL, 
	lifecycle_stage VARCHAR(32), 
	model_type VARCHAR(500), 
	source_run_id VARCHAR(32), 
	status_message VARCHAR(1000), 
	CONSTRAINT logged_models_pk PRIMARY KEY (model_id), 
	CONSTRAINT logged_models_lifecycle_stage_check CHECK (lifecycle_stage IN ('active', 'deleted')), 
	CONSTRAINT fk_logged_models_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id) ON DELETE CASCADE
);
INSERT INTO "logged_models" VALUES('m-e031f0a98b3b4b96a2d864c816fdd5be',1,'model','@LEGACY@/artifacts/1/models/m-e031f0a98b3b4b96a2d864c816fdd5be/artifacts',1795811455793,1795811458945,2,'active',NULL,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',NULL);
INSERT INTO "logged_models" VALUES('m-6b1a80c60fe449d6bdd1e8835eec79d1',1,'model','@LEGACY@/artifacts/1/models/m-6b1a80c60fe449d6bdd1e8835eec79d1/artifacts',1795811483034,1795811484561,2,'active',NULL,'80284407420c4d30a51d4afd21a56f85',NULL);
INSERT INTO "logged_models" VALUES('m-6ea8f295f73f4d90aa01c15c658ea227',1,'model','@LEGACY@/artifacts/1/models/m-6ea8f295f73f4d90aa01c15c658ea227/artifacts',1795811511198,1795811512461,2,'active',NULL,'8fef112dec9b4c99beb4bea26a348b5e',NULL);
INSERT INTO "logged_models" VALUES('m-475529a4d09e42e0abd4f1812c347c3c',1,'fmce_net','@LEGACY@/artifacts/1/models/m-475529a4d09e42e0abd4f1812c347c3c/artifacts',1795811557041,1795811557137,2,'active',NULL,'cf568fe3443c4ef9881304f710a94e89',NULL);
INSERT INTO "logged_models" VALUES('m-ebd564e0d5d348fa843f65fed835e2c4',1,'fmce_net','@LEGACY@/artifacts/1/models/m-ebd564e0d5d348fa843f65fed835e2c4/artifacts',1795811573427,1795811573486,2,'active',NULL,'5d0150734975413a8c1e32c51e5fa811',NULL);
INSERT INTO "logged_models" VALUES('m-2336080fdd2a482bb785f65feb6e4581',1,'fmce_net','@LEGACY@/artifacts/1/models/m-2336080fdd2a482bb785f65feb6e4581/artifacts',1795811608640,1795811608802,2,'active',NULL,'6af4ef83762a4edfa13ed58f33c078bb',NULL);
CREATE TABLE mcp_access_endpoints (
	id VARCHAR(36) NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	server_name VARCHAR(256) NOT NULL, 
	server_version VARCHAR(128), 
	server_alias VARCHAR(256), 
	url VARCHAR(2048) NOT NULL, 
	transport_type VARCHAR(32) DEFAULT 'streamable-http' NOT NULL, 
	created_by VARCHAR(256), 
	last_updated_by VARCHAR(256), 
	created_at BIGINT NOT NULL, 
	last_updated_at BIGINT NOT NULL, 
	CONSTRAINT mcp_access_endpoints_pk PRIMARY KEY (id), 
	CONSTRAINT mcp_access_endpoints_server_fkey FOREIGN KEY(workspace, server_name) REFERENCES mcp_servers (workspace, name) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE TABLE mcp_server_aliases (
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	alias VARCHAR(256) NOT NULL, 
	version VARCHAR(128) NOT NULL, 
	CONSTRAINT mcp_server_aliases_pk PRIMARY KEY (workspace, name, alias), 
	CONSTRAINT mcp_server_aliases_server_fkey FOREIGN KEY(workspace, name) REFERENCES mcp_servers (workspace, name) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE TABLE mcp_server_tags (
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(5000), 
	CONSTRAINT mcp_server_tags_pk PRIMARY KEY (workspace, name, "key"), 
	CONSTRAINT mcp_server_tags_server_fkey FOREIGN KEY(workspace, name) REFERENCES mcp_servers (workspace, name) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE TABLE mcp_server_version_tags (
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	version VARCHAR(128) NOT NULL, 
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(5000), 
	CONSTRAINT mcp_server_version_tags_pk PRIMARY KEY (workspace, name, version, "key"), 
	CONSTRAINT mcp_server_version_tags_version_fkey FOREIGN KEY(workspace, name, version) REFERENCES mcp_server_versions (workspace, name, version) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE TABLE mcp_server_versions (
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	version VARCHAR(128) NOT NULL, 
	version_major INTEGER NOT NULL, 
	version_minor INTEGER NOT NULL, 
	version_patch INTEGER NOT NULL, 
	version_prerelease_sort_key VARCHAR(512) NOT NULL, 
	server_json JSON NOT NULL, 
	status VARCHAR(20) DEFAULT 'draft' NOT NULL, 
	tools JSON, 
	source VARCHAR(512), 
	connect_options JSON, 
	created_by VARCHAR(256), 
	last_updated_by VARCHAR(256), 
	created_at BIGINT NOT NULL, 
	last_updated_at BIGINT NOT NULL, 
	CONSTRAINT mcp_server_versions_pk PRIMARY KEY (workspace, name, version), 
	CONSTRAINT mcp_server_versions_server_fkey FOREIGN KEY(workspace, name) REFERENCES mcp_servers (workspace, name) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE TABLE mcp_servers (
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	display_name VARCHAR(256), 
	description TEXT, 
	icons JSON, 
	created_by VARCHAR(256), 
	last_updated_by VARCHAR(256), 
	created_at BIGINT NOT NULL, 
	last_updated_at BIGINT NOT NULL, 
	CONSTRAINT mcp_servers_pk PRIMARY KEY (workspace, name)
);
CREATE TABLE "metrics" (
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT NOT NULL, 
	timestamp BIGINT NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	step BIGINT DEFAULT '0' NOT NULL, 
	is_nan BOOLEAN DEFAULT '0' NOT NULL, 
	CONSTRAINT metric_pk PRIMARY KEY ("key", timestamp, step, run_uuid, value, is_nan), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid), 
	CHECK (is_nan IN (0, 1))
);
INSERT INTO "metrics" VALUES('train_loss',2.36574304103851318359e+00,1795811453419,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',0,0);
INSERT INTO "metrics" VALUES('val_loss',2.28436126708984366118e+00,1795811453419,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',0,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.1,1795811453419,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',0,0);
INSERT INTO "metrics" VALUES('epoch',0.0,1795811453419,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',0,0);
INSERT INTO "metrics" VALUES('images_per_second',0.0,1795811453419,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',0,0);
INSERT INTO "metrics" VALUES('focus/stage',4.10136399739555290722e-01,1795811453419,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',0,0);
INSERT INTO "metrics" VALUES('train_loss',2.34324383735656738281e+00,1795811453483,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',1,0);
INSERT INTO "metrics" VALUES('val_loss',2.07165441513061532319e+00,1795811453483,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',1,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.2,1795811453483,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',1,0);
INSERT INTO "metrics" VALUES('epoch',0.5,1795811453483,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',1,0);
INSERT INTO "metrics" VALUES('images_per_second',4.06351511152300463435e+03,1795811453483,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',1,0);
INSERT INTO "metrics" VALUES('drift/stage',5.65158877965606931681e-02,1795811453483,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',1,0);
INSERT INTO "metrics" VALUES('focus/stage',1.78849371913643584441e-01,1795811453483,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',1,0);
INSERT INTO "metrics" VALUES('train_loss',1.89032304286956787109e+00,1795811453531,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',2,0);
INSERT INTO "metrics" VALUES('val_loss',1.4082000732421875444e+00,1795811453531,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',2,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.6,1795811453531,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',2,0);
INSERT INTO "metrics" VALUES('epoch',1.0,1795811453531,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',2,0);
INSERT INTO "metrics" VALUES('images_per_second',4.70886694356137286377e+03,1795811453531,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',2,0);
INSERT INTO "metrics" VALUES('drift/stage',4.22923134952535306751e-02,1795811453531,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',2,0);
INSERT INTO "metrics" VALUES('focus/stage',0.0,1795811453531,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',2,0);
INSERT INTO "metrics" VALUES('train_loss',1.18847405910491943359e+00,1795811453576,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',3,0);
INSERT INTO "metrics" VALUES('val_loss',1.22518143653869637788e+00,1795811453576,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',3,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.625,1795811453576,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',3,0);
INSERT INTO "metrics" VALUES('epoch',1.5,1795811453576,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',3,0);
INSERT INTO "metrics" VALUES('images_per_second',3.0777230876637345319e+03,1795811453576,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',3,0);
INSERT INTO "metrics" VALUES('drift/stage',3.32711794428296459003e-02,1795811453576,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',3,0);
INSERT INTO "metrics" VALUES('focus/stage',0.0,1795811453576,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',3,0);
INSERT INTO "metrics" VALUES('train_loss',0.876254141330719,1795811453630,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',4,0);
INSERT INTO "metrics" VALUES('val_loss',8.78473544120788596423e-01,1795811453630,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',4,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.8,1795811453630,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',4,0);
INSERT INTO "metrics" VALUES('epoch',2.0,1795811453630,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',4,0);
INSERT INTO "metrics" VALUES('images_per_second',4.76793231752931114886e+03,1795811453630,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',4,0);
INSERT INTO "metrics" VALUES('drift/stage',2.57841724419967111003e-02,1795811453630,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',4,0);
INSERT INTO "metrics" VALUES('focus/stage',0.0,1795811453630,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',4,0);
INSERT INTO "metrics" VALUES('train_loss',4.64076757431030273437e-01,1795811453689,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',5,0);
INSERT INTO "metrics" VALUES('val_loss',9.30239152908325150903e-01,1795811453689,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',5,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.775,1795811453689,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',5,0);
INSERT INTO "metrics" VALUES('epoch',2.5,1795811453689,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',5,0);
INSERT INTO "metrics" VALUES('images_per_second',5.02905694818982101435e+03,1795811453689,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',5,0);
INSERT INTO "metrics" VALUES('drift/stage',8.07192190066863268782e-03,1795811453689,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',5,0);
INSERT INTO "metrics" VALUES('focus/stage',0.0,1795811453689,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',5,0);
INSERT INTO "metrics" VALUES('train_loss',4.76699322462081909179e-01,1795811453744,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',6,0);
INSERT INTO "metrics" VALUES('val_loss',9.97961461544036865234e-01,1795811453744,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',6,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.725,1795811453744,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',6,0);
INSERT INTO "metrics" VALUES('epoch',3.0,1795811453744,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',6,0);
INSERT INTO "metrics" VALUES('images_per_second',3.28614047658908293666e+03,1795811453744,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',6,0);
INSERT INTO "metrics" VALUES('drift/stage',2.96221632299464854298e-03,1795811453744,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',6,0);
INSERT INTO "metrics" VALUES('focus/stage',1.36612807562391552762e-01,1795811453744,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',6,0);
INSERT INTO "metrics" VALUES('train_loss',4.01386737823486328125e-01,1795811453790,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',7,0);
INSERT INTO "metrics" VALUES('val_loss',9.98506951332092329565e-01,1795811453790,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',7,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.725,1795811453790,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',7,0);
INSERT INTO "metrics" VALUES('epoch',3.5,1795811453790,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',7,0);
INSERT INTO "metrics" VALUES('images_per_second',3.64663443753304136415e+03,1795811453790,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',7,0);
INSERT INTO "metrics" VALUES('drift/stage',4.07248116815361882459e-04,1795811453790,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',7,0);
INSERT INTO "metrics" VALUES('focus/stage',1.35883093986465391944e-01,1795811453790,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',7,0);
INSERT INTO "metrics" VALUES('train_loss',2.33297988772392272949e-01,1795811453867,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',8,0);
INSERT INTO "metrics" VALUES('val_loss',9.83139359951019309313e-01,1795811453867,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',8,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.725,1795811453867,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',8,0);
INSERT INTO "metrics" VALUES('epoch',4.0,1795811453867,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',8,0);
INSERT INTO "metrics" VALUES('images_per_second',5576.6189099105,1795811453867,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',8,0);
INSERT INTO "metrics" VALUES('drift/stage',6.94583246569902e-05,1795811453867,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',8,0);
INSERT INTO "metrics" VALUES('focus/stage',1.43534351367600371274e-01,1795811453867,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',8,0);
INSERT INTO "metrics" VALUES('fmcs',0.0,1795811453907,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',0,0);
INSERT INTO "metrics" VALUES('cqi',1.05508949260081502652e-02,1795811453912,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',1,0);
INSERT INTO "metrics" VALUES('fmcs',0.25,1795811453912,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',1,0);
INSERT INTO "metrics" VALUES('cqi',2.12395059842543948436e-01,1795811453919,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',2,0);
INSERT INTO "metrics" VALUES('fmcs',0.5,1795811453919,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',2,0);
INSERT INTO "metrics" VALUES('cqi',3.29128754346473262337e-01,1795811453926,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',3,0);
INSERT INTO "metrics" VALUES('fmcs',0.75,1795811453926,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',3,0);
INSERT INTO "metrics" VALUES('cqi',1.46414050595305378354e-01,1795811453936,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',4,0);
INSERT INTO "metrics" VALUES('fmcs',1.0,1795811453936,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',4,0);
INSERT INTO "metrics" VALUES('cqi',1.93288630561276736363e-01,1795811453948,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',5,0);
INSERT INTO "metrics" VALUES('fmcs',1.0,1795811453948,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',5,0);
INSERT INTO "metrics" VALUES('cqi',5.91929204348679623842e-03,1795811453969,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',6,0);
INSERT INTO "metrics" VALUES('fmcs',1.0,1795811453969,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',6,0);
INSERT INTO "metrics" VALUES('cqi',3.53174796033135299233e-02,1795811453979,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',7,0);
INSERT INTO "metrics" VALUES('fmcs',1.0,1795811453979,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',7,0);
INSERT INTO "metrics" VALUES('cqi',7.88244221685657914244e-02,1795811454003,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',8,0);
INSERT INTO "metrics" VALUES('fmcs',1.0,1795811454003,'fdd60a53da8a4d7ba34d6a3cb08c4eeb',8,0);
INSERT INTO "metrics" VALUES('train_loss',2.44026362895965576171e+00,1795811480199,'80284407420c4d30a51d4afd21a56f85',0,0);
INSERT INTO "metrics" VALUES('val_loss',2.33955059051513680756e+00,1795811480199,'80284407420c4d30a51d4afd21a56f85',0,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.1,1795811480199,'80284407420c4d30a51d4afd21a56f85',0,0);
INSERT INTO "metrics" VALUES('epoch',0.0,1795811480199,'80284407420c4d30a51d4afd21a56f85',0,0);
INSERT INTO "metrics" VALUES('images_per_second',0.0,1795811480199,'80284407420c4d30a51d4afd21a56f85',0,0);
INSERT INTO "metrics" VALUES('focus/stage',4.88198196112796856116e-01,1795811480199,'80284407420c4d30a51d4afd21a56f85',0,0);
INSERT INTO "metrics" VALUES('train_loss',2.35347247123718261718e+00,1795811480295,'80284407420c4d30a51d4afd21a56f85',1,0);
INSERT INTO "metrics" VALUES('val_loss',2.10819759368896475493e+00,1795811480295,'80284407420c4d30a51d4afd21a56f85',1,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.3,1795811480295,'80284407420c4d30a51d4afd21a56f85',1,0);
INSERT INTO "metrics" VALUES('epoch',0.5,1795811480295,'80284407420c4d30a51d4afd21a56f85',1,0);
INSERT INTO "metrics" VALUES('images_per_second',2.60545568308867905209e+03,1795811480295,'80284407420c4d30a51d4afd21a56f85',1,0);
INSERT INTO "metrics" VALUES('drift/stage',6.19855594245575236556e-02,1795811480295,'80284407420c4d30a51d4afd21a56f85',1,0);
INSERT INTO "metrics" VALUES('focus/stage',5.07692054824355865072e-01,1795811480295,'80284407420c4d30a51d4afd21a56f85',1,0);
INSERT INTO "metrics" VALUES('train_loss',1.99319696426391601562e+00,1795811480395,'80284407420c4d30a51d4afd21a56f85',2,0);
INSERT INTO "metrics" VALUES('val_loss',1.53410825729370126069e+00,1795811480395,'80284407420c4d30a51d4afd21a56f85',2,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.65,1795811480395,'80284407420c4d30a51d4afd21a56f85',2,0);
INSERT INTO "metrics" VALUES('epoch',1.0,1795811480395,'80284407420c4d30a51d4afd21a56f85',2,0);
INSERT INTO "metrics" VALUES('images_per_second',3.96348212718025206414e+03,1795811480395,'80284407420c4d30a51d4afd21a56f85',2,0);
INSERT INTO "metrics" VALUES('drift/stage',6.32993700844716178366e-02,1795811480395,'80284407420c4d30a51d4afd21a56f85',2,0);
INSERT INTO "metrics" VALUES('focus/stage',2.38096142612396283189e-01,1795811480395,'80284407420c4d30a51d4afd21a56f85',2,0);
INSERT INTO "metrics" VALUES('train_loss',1.30931985378265380859e+00,1795811480489,'80284407420c4d30a51d4afd21a56f85',3,0);
INSERT INTO "metrics" VALUES('val_loss',9.83381390571594238281e-01,1795811480489,'80284407420c4d30a51d4afd21a56f85',3,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.675,1795811480489,'80284407420c4d30a51d4afd21a56f85',3,0);
INSERT INTO "metrics" VALUES('epoch',1.5,1795811480489,'80284407420c4d30a51d4afd21a56f85',3,0);
INSERT INTO "metrics" VALUES('images_per_second',7.00277047109237628331e+03,1795811480489,'80284407420c4d30a51d4afd21a56f85',3,0);
INSERT INTO "metrics" VALUES('drift/stage',1.41447403298986529307e-02,1795811480489,'80284407420c4d30a51d4afd21a56f85',3,0);
INSERT INTO "metrics" VALUES('focus/stage',2.92562204068646469767e-01,1795811480489,'80284407420c4d30a51d4afd21a56f85',3,0);
INSERT INTO "metrics" VALUES('train_loss',8.32921683788299560546e-01,1795811480615,'80284407420c4d30a51d4afd21a56f85',4,0);
INSERT INTO "metrics" VALUES('val_loss',7.04257941246032692639e-01,1795811480615,'80284407420c4d30a51d4afd21a56f85',4,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.725,1795811480615,'80284407420c4d30a51d4afd21a56f85',4,0);
INSERT INTO "metrics" VALUES('epoch',2.0,1795811480615,'80284407420c4d30a51d4afd21a56f85',4,0);
INSERT INTO "metrics" VALUES('images_per_second',2.92125732619464770316e+03,1795811480615,'80284407420c4d30a51d4afd21a56f85',4,0);
INSERT INTO "metrics" VALUES('drift/stage',3.16097618537707347741e-02,1795811480615,'80284407420c4d30a51d4afd21a56f85',4,0);
INSERT INTO "metrics" VALUES('focus/stage',2.91865323674816823373e-01,1795811480615,'80284407420c4d30a51d4afd21a56f85',4,0);
INSERT INTO "metrics" VALUES('train_loss',4.0471413731575012207e-01,1795811480703,'80284407420c4d30a51d4afd21a56f85',5,0);
INSERT INTO "metrics" VALUES('val_loss',7.26540803909301757812e-01,1795811480703,'80284407420c4d30a51d4afd21a56f85',5,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.75,1795811480703,'80284407420c4d30a51d4afd21a56f85',5,0);
INSERT INTO "metrics" VALUES('epoch',2.5,1795811480703,'80284407420c4d30a51d4afd21a56f85',5,0);
INSERT INTO "metrics" VALUES('images_per_second',3.04618318324931351519e+03,1795811480703,'80284407420c4d30a51d4afd21a56f85',5,0);
INSERT INTO "metrics" VALUES('drift/stage',4.88309884669535509971e-03,1795811480703,'80284407420c4d30a51d4afd21a56f85',5,0);
INSERT INTO "metrics" VALUES('focus/stage',2.79582246203237516635e-01,1795811480703,'80284407420c4d30a51d4afd21a56f85',5,0);
INSERT INTO "metrics" VALUES('train_loss',4.11112576723098754882e-01,1795811480831,'80284407420c4d30a51d4afd21a56f85',6,0);
INSERT INTO "metrics" VALUES('val_loss',7.23417699337005615234e-01,1795811480831,'80284407420c4d30a51d4afd21a56f85',6,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.825,1795811480831,'80284407420c4d30a51d4afd21a56f85',6,0);
INSERT INTO "metrics" VALUES('epoch',3.0,1795811480831,'80284407420c4d30a51d4afd21a56f85',6,0);
INSERT INTO "metrics" VALUES('images_per_second',3.95618622661929521186e+03,1795811480831,'80284407420c4d30a51d4afd21a56f85',6,0);
INSERT INTO "metrics" VALUES('drift/stage',3.55728581350378547654e-03,1795811480831,'80284407420c4d30a51d4afd21a56f85',6,0);
INSERT INTO "metrics" VALUES('focus/stage',1.13615320305752456886e-01,1795811480831,'80284407420c4d30a51d4afd21a56f85',6,0);
INSERT INTO "metrics" VALUES('train_loss',2.81243711709976196289e-01,1795811480907,'80284407420c4d30a51d4afd21a56f85',7,0);
INSERT INTO "metrics" VALUES('val_loss',7.56164371967315673828e-01,1795811480907,'80284407420c4d30a51d4afd21a56f85',7,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.775,1795811480907,'80284407420c4d30a51d4afd21a56f85',7,0);
INSERT INTO "metrics" VALUES('epoch',3.5,1795811480907,'80284407420c4d30a51d4afd21a56f85',7,0);
INSERT INTO "metrics" VALUES('images_per_second',7.33409923752486884052e+03,1795811480907,'80284407420c4d30a51d4afd21a56f85',7,0);
INSERT INTO "metrics" VALUES('drift/stage',2.23941830922780305002e-03,1795811480907,'80284407420c4d30a51d4afd21a56f85',7,0);
INSERT INTO "metrics" VALUES('focus/stage',1.17601645970835333443e-01,1795811480907,'80284407420c4d30a51d4afd21a56f85',7,0);
INSERT INTO "metrics" VALUES('train_loss',4.01884406805038452148e-01,1795811480999,'80284407420c4d30a51d4afd21a56f85',8,0);
INSERT INTO "metrics" VALUES('val_loss',7.54502236843109130859e-01,1795811480999,'80284407420c4d30a51d4afd21a56f85',8,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.775,1795811480999,'80284407420c4d30a51d4afd21a56f85',8,0);
INSERT INTO "metrics" VALUES('epoch',4.0,1795811480999,'80284407420c4d30a51d4afd21a56f85',8,0);
INSERT INTO "metrics" VALUES('images_per_second',4.01165754254113971931e+03,1795811480999,'80284407420c4d30a51d4afd21a56f85',8,0);
INSERT INTO "metrics" VALUES('drift/stage',1.95044397213406384139e-04,1795811480999,'80284407420c4d30a51d4afd21a56f85',8,0);
INSERT INTO "metrics" VALUES('focus/stage',1.1958754960173985371e-01,1795811480999,'80284407420c4d30a51d4afd21a56f85',8,0);
INSERT INTO "metrics" VALUES('fmcs',0.0,1795811481045,'80284407420c4d30a51d4afd21a56f85',0,0);
INSERT INTO "metrics" VALUES('cqi',4.01993316638941389218e-02,1795811481063,'80284407420c4d30a51d4afd21a56f85',1,0);
INSERT INTO "metrics" VALUES('fmcs',0.25,1795811481063,'80284407420c4d30a51d4afd21a56f85',1,0);
INSERT INTO "metrics" VALUES('cqi',1.66869932090396078105e-01,1795811481091,'80284407420c4d30a51d4afd21a56f85',2,0);
INSERT INTO "metrics" VALUES('fmcs',0.5,1795811481091,'80284407420c4d30a51d4afd21a56f85',2,0);
INSERT INTO "metrics" VALUES('cqi',3.16753497740973055663e-01,1795811481123,'80284407420c4d30a51d4afd21a56f85',3,0);
INSERT INTO "metrics" VALUES('fmcs',0.75,1795811481123,'80284407420c4d30a51d4afd21a56f85',3,0);
INSERT INTO "metrics" VALUES('cqi',2.20654828697099625323e-01,1795811481147,'80284407420c4d30a51d4afd21a56f85',4,0);
INSERT INTO "metrics" VALUES('fmcs',1.0,1795811481147,'80284407420c4d30a51d4afd21a56f85',4,0);
INSERT INTO "metrics" VALUES('cqi',1.98334227049666189657e-01,1795811481171,'80284407420c4d30a51d4afd21a56f85',5,0);
INSERT INTO "metrics" VALUES('fmcs',1.0,1795811481171,'80284407420c4d30a51d4afd21a56f85',5,0);
INSERT INTO "metrics" VALUES('cqi',2.96358516946867338662e-03,1795811481199,'80284407420c4d30a51d4afd21a56f85',6,0);
INSERT INTO "metrics" VALUES('fmcs',1.0,1795811481199,'80284407420c4d30a51d4afd21a56f85',6,0);
INSERT INTO "metrics" VALUES('cqi',6.01517679274395922206e-02,1795811481227,'80284407420c4d30a51d4afd21a56f85',7,0);
INSERT INTO "metrics" VALUES('fmcs',1.0,1795811481227,'80284407420c4d30a51d4afd21a56f85',7,0);
INSERT INTO "metrics" VALUES('cqi',5.58775276370508736101e-02,1795811481251,'80284407420c4d30a51d4afd21a56f85',8,0);
INSERT INTO "metrics" VALUES('fmcs',1.0,1795811481251,'80284407420c4d30a51d4afd21a56f85',8,0);
INSERT INTO "metrics" VALUES('train_loss',2.44954137007395411629e+00,1795811508151,'8fef112dec9b4c99beb4bea26a348b5e',0,0);
INSERT INTO "metrics" VALUES('val_loss',2.32179098129272443173e+00,1795811508151,'8fef112dec9b4c99beb4bea26a348b5e',0,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.075,1795811508151,'8fef112dec9b4c99beb4bea26a348b5e',0,0);
INSERT INTO "metrics" VALUES('epoch',0.0,1795811508151,'8fef112dec9b4c99beb4bea26a348b5e',0,0);
INSERT INTO "metrics" VALUES('images_per_second',0.0,1795811508151,'8fef112dec9b4c99beb4bea26a348b5e',0,0);
INSERT INTO "metrics" VALUES('focus/stage',4.04712666911293539317e-01,1795811508151,'8fef112dec9b4c99beb4bea26a348b5e',0,0);
INSERT INTO "metrics" VALUES('train_loss',2.33228778839111328125e+00,1795811508271,'8fef112dec9b4c99beb4bea26a348b5e',1,0);
INSERT INTO "metrics" VALUES('val_loss',2.1107997894287109375e+00,1795811508271,'8fef112dec9b4c99beb4bea26a348b5e',1,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.3,1795811508271,'8fef112dec9b4c99beb4bea26a348b5e',1,0);
INSERT INTO "metrics" VALUES('epoch',0.5,1795811508271,'8fef112dec9b4c99beb4bea26a348b5e',1,0);
INSERT INTO "metrics" VALUES('images_per_second',2.67197023069317219777e+03,1795811508271,'8fef112dec9b4c99beb4bea26a348b5e',1,0);
INSERT INTO "metrics" VALUES('drift/stage',7.22372468718932569942e-02,1795811508271,'8fef112dec9b4c99beb4bea26a348b5e',1,0);
INSERT INTO "metrics" VALUES('focus/stage',2.39735333192274580049e-01,1795811508271,'8fef112dec9b4c99beb4bea26a348b5e',1,0);
INSERT INTO "metrics" VALUES('train_loss',2.07602477073669433593e+00,1795811508383,'8fef112dec9b4c99beb4bea26a348b5e',2,0);
INSERT INTO "metrics" VALUES('val_loss',1.69682741165161132812e+00,1795811508383,'8fef112dec9b4c99beb4bea26a348b5e',2,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.525,1795811508383,'8fef112dec9b4c99beb4bea26a348b5e',2,0);
INSERT INTO "metrics" VALUES('epoch',1.0,1795811508383,'8fef112dec9b4c99beb4bea26a348b5e',2,0);
INSERT INTO "metrics" VALUES('images_per_second',2.80818647203664659168e+03,1795811508383,'8fef112dec9b4c99beb4bea26a348b5e',2,0);
INSERT INTO "metrics" VALUES('drift/stage',8.85904871263569759776e-02,1795811508383,'8fef112dec9b4c99beb4bea26a348b5e',2,0);
INSERT INTO "metrics" VALUES('focus/stage',0.28031867891709,1795811508383,'8fef112dec9b4c99beb4bea26a348b5e',2,0);
INSERT INTO "metrics" VALUES('train_loss',1.38757789134979248046e+00,1795811508499,'8fef112dec9b4c99beb4bea26a348b5e',3,0);
INSERT INTO "metrics" VALUES('val_loss',1.28782057762146,1795811508499,'8fef112dec9b4c99beb4bea26a348b5e',3,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.6,1795811508499,'8fef112dec9b4c99beb4bea26a348b5e',3,0);
INSERT INTO "metrics" VALUES('epoch',1.5,1795811508499,'8fef112dec9b4c99beb4bea26a348b5e',3,0);
INSERT INTO "metrics" VALUES('images_per_second',2.6761521392648428446e+03,1795811508499,'8fef112dec9b4c99beb4bea26a348b5e',3,0);
INSERT INTO "metrics" VALUES('drift/stage',4.51102611980932488577e-02,1795811508499,'8fef112dec9b4c99beb4bea26a348b5e',3,0);
INSERT INTO "metrics" VALUES('focus/stage',0.0,1795811508499,'8fef112dec9b4c99beb4bea26a348b5e',3,0);
INSERT INTO "metrics" VALUES('train_loss',9.48083579540252685546e-01,1795811508615,'8fef112dec9b4c99beb4bea26a348b5e',4,0);
INSERT INTO "metrics" VALUES('val_loss',8.8848886489868161842e-01,1795811508615,'8fef112dec9b4c99beb4bea26a348b5e',4,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.825,1795811508615,'8fef112dec9b4c99beb4bea26a348b5e',4,0);
INSERT INTO "metrics" VALUES('epoch',2.0,1795811508615,'8fef112dec9b4c99beb4bea26a348b5e',4,0);
INSERT INTO "metrics" VALUES('images_per_second',3.03777492099348137336e+03,1795811508615,'8fef112dec9b4c99beb4bea26a348b5e',4,0);
INSERT INTO "metrics" VALUES('drift/stage',1.06914133579986136979e-02,1795811508615,'8fef112dec9b4c99beb4bea26a348b5e',4,0);
INSERT INTO "metrics" VALUES('focus/stage',0.0,1795811508615,'8fef112dec9b4c99beb4bea26a348b5e',4,0);
INSERT INTO "metrics" VALUES('train_loss',6.20448052883148193359e-01,1795811508726,'8fef112dec9b4c99beb4bea26a348b5e',5,0);
INSERT INTO "metrics" VALUES('val_loss',8.37583804130554221423e-01,1795811508726,'8fef112dec9b4c99beb4bea26a348b5e',5,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.7,1795811508726,'8fef112dec9b4c99beb4bea26a348b5e',5,0);
INSERT INTO "metrics" VALUES('epoch',2.5,1795811508726,'8fef112dec9b4c99beb4bea26a348b5e',5,0);
INSERT INTO "metrics" VALUES('images_per_second',4.30544668604883281649e+03,1795811508726,'8fef112dec9b4c99beb4bea26a348b5e',5,0);
INSERT INTO "metrics" VALUES('drift/stage',7.98028437410780444594e-03,1795811508726,'8fef112dec9b4c99beb4bea26a348b5e',5,0);
INSERT INTO "metrics" VALUES('focus/stage',1.30486961508975291001e-01,1795811508726,'8fef112dec9b4c99beb4bea26a348b5e',5,0);
INSERT INTO "metrics" VALUES('train_loss',5.44528186321258544921e-01,1795811508831,'8fef112dec9b4c99beb4bea26a348b5e',6,0);
INSERT INTO "metrics" VALUES('val_loss',8.32108807563781693872e-01,1795811508831,'8fef112dec9b4c99beb4bea26a348b5e',6,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.75,1795811508831,'8fef112dec9b4c99beb4bea26a348b5e',6,0);
INSERT INTO "metrics" VALUES('epoch',3.0,1795811508831,'8fef112dec9b4c99beb4bea26a348b5e',6,0);
INSERT INTO "metrics" VALUES('images_per_second',2.9700430322410261397e+03,1795811508831,'8fef112dec9b4c99beb4bea26a348b5e',6,0);
INSERT INTO "metrics" VALUES('drift/stage',2.62598245742473590524e-03,1795811508831,'8fef112dec9b4c99beb4bea26a348b5e',6,0);
INSERT INTO "metrics" VALUES('focus/stage',1.32269269702775110753e-01,1795811508831,'8fef112dec9b4c99beb4bea26a348b5e',6,0);
INSERT INTO "metrics" VALUES('train_loss',3.93313199281692504882e-01,1795811508938,'8fef112dec9b4c99beb4bea26a348b5e',7,0);
INSERT INTO "metrics" VALUES('val_loss',8.46053767204284712377e-01,1795811508938,'8fef112dec9b4c99beb4bea26a348b5e',7,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.75,1795811508938,'8fef112dec9b4c99beb4bea26a348b5e',7,0);
INSERT INTO "metrics" VALUES('epoch',3.5,1795811508938,'8fef112dec9b4c99beb4bea26a348b5e',7,0);
INSERT INTO "metrics" VALUES('images_per_second',4.30149000027936745035e+03,1795811508938,'8fef112dec9b4c99beb4bea26a348b5e',7,0);
INSERT INTO "metrics" VALUES('drift/stage',4.10967895140723626923e-04,1795811508938,'8fef112dec9b4c99beb4bea26a348b5e',7,0);
INSERT INTO "metrics" VALUES('focus/stage',1.39070477489403793169e-01,1795811508938,'8fef112dec9b4c99beb4bea26a348b5e',7,0);
INSERT INTO "metrics" VALUES('train_loss',3.80777448415756225585e-01,1795811509047,'8fef112dec9b4c99beb4bea26a348b5e',8,0);
INSERT INTO "metrics" VALUES('val_loss',8.49417877197265580591e-01,1795811509047,'8fef112dec9b4c99beb4bea26a348b5e',8,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.75,1795811509047,'8fef112dec9b4c99beb4bea26a348b5e',8,0);
INSERT INTO "metrics" VALUES('epoch',4.0,1795811509047,'8fef112dec9b4c99beb4bea26a348b5e',8,0);
INSERT INTO "metrics" VALUES('images_per_second',7.73990812711425860484e+03,1795811509047,'8fef112dec9b4c99beb4bea26a348b5e',8,0);
INSERT INTO "metrics" VALUES('drift/stage',5.22427615141651813246e-05,1795811509047,'8fef112dec9b4c99beb4bea26a348b5e',8,0);
INSERT INTO "metrics" VALUES('focus/stage',1.42440768413647750323e-01,1795811509047,'8fef112dec9b4c99beb4bea26a348b5e',8,0);
INSERT INTO "metrics" VALUES('fmcs',0.0,1795811509101,'8fef112dec9b4c99beb4bea26a348b5e',0,0);
INSERT INTO "metrics" VALUES('cqi',5.66780870718478838043e-02,1795811509127,'8fef112dec9b4c99beb4bea26a348b5e',1,0);
INSERT INTO "metrics" VALUES('fmcs',0.25,1795811509127,'8fef112dec9b4c99beb4bea26a348b5e',1,0);
INSERT INTO "metrics" VALUES('cqi',1.23872528407694665331e-01,1795811509155,'8fef112dec9b4c99beb4bea26a348b5e',2,0);
INSERT INTO "metrics" VALUES('fmcs',0.5,1795811509155,'8fef112dec9b4c99beb4bea26a348b5e',2,0);
INSERT INTO "metrics" VALUES('cqi',3.32781750580358082203e-01,1795811509179,'8fef112dec9b4c99beb4bea26a348b5e',3,0);
INSERT INTO "metrics" VALUES('fmcs',0.75,1795811509179,'8fef112dec9b4c99beb4bea26a348b5e',3,0);
INSERT INTO "metrics" VALUES('cqi',2.12442950695537730032e-01,1795811509207,'8fef112dec9b4c99beb4bea26a348b5e',4,0);
INSERT INTO "metrics" VALUES('fmcs',1.0,1795811509207,'8fef112dec9b4c99beb4bea26a348b5e',4,0);
INSERT INTO "metrics" VALUES('cqi',1.58372602705915022092e-01,1795811509235,'8fef112dec9b4c99beb4bea26a348b5e',5,0);
INSERT INTO "metrics" VALUES('fmcs',1.0,1795811509235,'8fef112dec9b4c99beb4bea26a348b5e',5,0);
INSERT INTO "metrics" VALUES('cqi',3.66981779636976687686e-02,1795811509263,'8fef112dec9b4c99beb4bea26a348b5e',6,0);
INSERT INTO "metrics" VALUES('fmcs',1.0,1795811509263,'8fef112dec9b4c99beb4bea26a348b5e',6,0);
INSERT INTO "metrics" VALUES('cqi',7.30943658947615093612e-02,1795811509287,'8fef112dec9b4c99beb4bea26a348b5e',7,0);
INSERT INTO "metrics" VALUES('fmcs',1.0,1795811509287,'8fef112dec9b4c99beb4bea26a348b5e',7,0);
INSERT INTO "metrics" VALUES('cqi',6.05953668018744621287e-03,1795811509315,'8fef112dec9b4c99beb4bea26a348b5e',8,0);
INSERT INTO "metrics" VALUES('fmcs',1.0,1795811509315,'8fef112dec9b4c99beb4bea26a348b5e',8,0);
INSERT INTO "metrics" VALUES('fmcs_dataset/rows',21.0,1795811532843,'4a8e1e0c3e654d40b1973150bc7b4cef',0,0);
INSERT INTO "metrics" VALUES('fmcs_dataset/runs',3.0,1795811532843,'4a8e1e0c3e654d40b1973150bc7b4cef',0,0);
INSERT INTO "metrics" VALUES('fmcs_dataset/modules',1.0,1795811532843,'4a8e1e0c3e654d40b1973150bc7b4cef',0,0);
INSERT INTO "metrics" VALUES('fmcs_dataset/markers',9.0,1795811532843,'4a8e1e0c3e654d40b1973150bc7b4cef',0,0);
INSERT INTO "metrics" VALUES('fmcs_dataset/left_out',0.0,1795811532843,'4a8e1e0c3e654d40b1973150bc7b4cef',0,0);
INSERT INTO "metrics" VALUES('fmcs_dataset/unlabelled',0.0,1795811532843,'4a8e1e0c3e654d40b1973150bc7b4cef',0,0);
INSERT INTO "metrics" VALUES('run/mae',3.38020036617914854115e-01,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/accuracy',3.33333333333333314829e-01,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/within_one',1.0,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/precision',1.11111111111111104943e-01,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/level_0/precision',0.0,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/level_1/precision',3.33333333333333314829e-01,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/level_2/precision',0.0,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/recall',3.33333333333333314829e-01,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/level_0/recall',0.0,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/level_1/recall',1.0,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/level_2/recall',0.0,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/f1',1.66666666666666657414e-01,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/level_0/f1',0.0,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/level_1/f1',0.5,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/level_2/f1',0.0,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/spearman',-1.0,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/spearman_lowest',-1.0,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/coverage',1.0,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/width',1.0,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('run/maps',3.0,0,'cf568fe3443c4ef9881304f710a94e89',0,0);
INSERT INTO "metrics" VALUES('validation_mae',3.85927975177764892578e-01,0,'cf568fe3443c4ef9881304f710a94e89',1,0);
INSERT INTO "metrics" VALUES('validation_mae',3.85913282632827758789e-01,0,'cf568fe3443c4ef9881304f710a94e89',2,0);
INSERT INTO "metrics" VALUES('validation_mae',3.85867401957511901855e-01,0,'cf568fe3443c4ef9881304f710a94e89',3,0);
INSERT INTO "metrics" VALUES('validation_mae',3.85797128081321716308e-01,0,'cf568fe3443c4ef9881304f710a94e89',4,0);
INSERT INTO "metrics" VALUES('validation_mae',0.385708749294281,0,'cf568fe3443c4ef9881304f710a94e89',5,0);
INSERT INTO "metrics" VALUES('validation_mae',3.85604605078697204589e-01,0,'cf568fe3443c4ef9881304f710a94e89',6,0);
INSERT INTO "metrics" VALUES('validation_mae',3.85501056909561157226e-01,0,'cf568fe3443c4ef9881304f710a94e89',7,0);
INSERT INTO "metrics" VALUES('validation_mae',3.8539555668830871582e-01,0,'cf568fe3443c4ef9881304f710a94e89',8,0);
INSERT INTO "metrics" VALUES('validation_mae',3.85288685560226440429e-01,0,'cf568fe3443c4ef9881304f710a94e89',9,0);
INSERT INTO "metrics" VALUES('validation_mae',3.85182172060012817382e-01,0,'cf568fe3443c4ef9881304f710a94e89',10,0);
INSERT INTO "metrics" VALUES('validation_mae',3.850768357515335083e-01,0,'cf568fe3443c4ef9881304f710a94e89',11,0);
INSERT INTO "metrics" VALUES('validation_mae',3.84973242878913879394e-01,0,'cf568fe3443c4ef9881304f710a94e89',12,0);
INSERT INTO "metrics" VALUES('images/mae',2.421857934622537456e-01,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/accuracy',7.77777777777777790113e-01,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/within_one',1.0,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/precision',8.66666666666666696272e-01,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/level_0/precision',1.0,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/level_1/precision',0.6,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/level_2/precision',1.0,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/recall',7.77777777777777679091e-01,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/level_0/recall',6.66666666666666629659e-01,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/level_1/recall',1.0,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/level_2/recall',6.66666666666666629659e-01,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/f1',7.83333333333333325931e-01,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/level_0/f1',0.8,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/level_1/f1',0.75,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/level_2/f1',0.8,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/spearman',1.0,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/spearman_lowest',1.0,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/coverage',1.0,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/width',9.17137504053290308903e-01,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/maps',21.0,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('images/image_accuracy',7.63888888888888839545e-01,0,'5d0150734975413a8c1e32c51e5fa811',0,0);
INSERT INTO "metrics" VALUES('validation_mae',3.89747798442840576171e-01,1795811599373,'50a66d193473476b97ddd9a52163d7e1',1,0);
INSERT INTO "metrics" VALUES('validation_mae',3.90113666653633117675e-01,1795811599852,'50a66d193473476b97ddd9a52163d7e1',2,0);
INSERT INTO "metrics" VALUES('validation_mae',3.90721216797828674316e-01,1795811599852,'50a66d193473476b97ddd9a52163d7e1',3,0);
INSERT INTO "metrics" VALUES('validation_mae',3.91440987586975097656e-01,1795811599852,'50a66d193473476b97ddd9a52163d7e1',4,0);
INSERT INTO "metrics" VALUES('validation_mae',3.92232343554496765136e-01,1795811599852,'50a66d193473476b97ddd9a52163d7e1',5,0);
INSERT INTO "metrics" VALUES('validation_mae',3.93053039908409118652e-01,1795811599852,'50a66d193473476b97ddd9a52163d7e1',6,0);
INSERT INTO "metrics" VALUES('validation_mae',3.93870174884796142578e-01,1795811599852,'50a66d193473476b97ddd9a52163d7e1',7,0);
INSERT INTO "metrics" VALUES('validation_mae',3.94665151834487915039e-01,1795811599852,'50a66d193473476b97ddd9a52163d7e1',8,0);
INSERT INTO "metrics" VALUES('validation_mae',3.95551919937133789062e-01,1795811599852,'50a66d193473476b97ddd9a52163d7e1',9,0);
INSERT INTO "metrics" VALUES('validation_mae',3.96691277623176574707e-01,1795811599852,'50a66d193473476b97ddd9a52163d7e1',10,0);
INSERT INTO "metrics" VALUES('validation_mae',3.97822052240371704101e-01,1795811599852,'50a66d193473476b97ddd9a52163d7e1',11,0);
INSERT INTO "metrics" VALUES('validation_mae',3.9886760711669921875e-01,1795811599852,'50a66d193473476b97ddd9a52163d7e1',12,0);
INSERT INTO "metrics" VALUES('duration',6.989622,1795811599834,'50a66d193473476b97ddd9a52163d7e1',0,0);
INSERT INTO "metrics" VALUES('best_validation_mae',3.89747798442840576171e-01,1795811599834,'50a66d193473476b97ddd9a52163d7e1',0,0);
INSERT INTO "metrics" VALUES('validation_mae',3.91890510916709899902e-01,1795811600515,'a9f09de8f5574a77b3d6b2d569e02c58',1,0);
INSERT INTO "metrics" VALUES('validation_mae',3.92050206661224365234e-01,1795811600515,'a9f09de8f5574a77b3d6b2d569e02c58',2,0);
INSERT INTO "metrics" VALUES('validation_mae',3.92344117164611816406e-01,1795811600515,'a9f09de8f5574a77b3d6b2d569e02c58',3,0);
INSERT INTO "metrics" VALUES('validation_mae',3.92753183841705322265e-01,1795811600515,'a9f09de8f5574a77b3d6b2d569e02c58',4,0);
INSERT INTO "metrics" VALUES('validation_mae',3.9323380589485168457e-01,1795811600515,'a9f09de8f5574a77b3d6b2d569e02c58',5,0);
INSERT INTO "metrics" VALUES('validation_mae',3.93766820430755615234e-01,1795811600515,'a9f09de8f5574a77b3d6b2d569e02c58',6,0);
INSERT INTO "metrics" VALUES('validation_mae',3.94212245941162109375e-01,1795811600515,'a9f09de8f5574a77b3d6b2d569e02c58',7,0);
INSERT INTO "metrics" VALUES('validation_mae',3.94662767648696899414e-01,1795811600515,'a9f09de8f5574a77b3d6b2d569e02c58',8,0);
INSERT INTO "metrics" VALUES('validation_mae',3.95115941762924194335e-01,1795811600515,'a9f09de8f5574a77b3d6b2d569e02c58',9,0);
INSERT INTO "metrics" VALUES('validation_mae',3.95544826984405517578e-01,1795811600515,'a9f09de8f5574a77b3d6b2d569e02c58',10,0);
INSERT INTO "metrics" VALUES('validation_mae',3.95967677235603332519e-01,1795811600515,'a9f09de8f5574a77b3d6b2d569e02c58',11,0);
INSERT INTO "metrics" VALUES('validation_mae',0.396441325545311,1795811600515,'a9f09de8f5574a77b3d6b2d569e02c58',12,0);
INSERT INTO "metrics" VALUES('duration',0.566422,1795811600500,'a9f09de8f5574a77b3d6b2d569e02c58',0,0);
INSERT INTO "metrics" VALUES('best_validation_mae',3.91890510916709899902e-01,1795811600500,'a9f09de8f5574a77b3d6b2d569e02c58',0,0);
INSERT INTO "metrics" VALUES('validation_mae',3.90081822872161865234e-01,1795811601451,'df585279a62d469f9a16573d370ef1a1',1,0);
INSERT INTO "metrics" VALUES('validation_mae',3.90100210905075073242e-01,1795811601451,'df585279a62d469f9a16573d370ef1a1',2,0);
INSERT INTO "metrics" VALUES('validation_mae',3.90133768320083618164e-01,1795811601451,'df585279a62d469f9a16573d370ef1a1',3,0);
INSERT INTO "metrics" VALUES('validation_mae',3.90177011489868164062e-01,1795811601451,'df585279a62d469f9a16573d370ef1a1',4,0);
INSERT INTO "metrics" VALUES('validation_mae',3.90226840972900390625e-01,1795811601451,'df585279a62d469f9a16573d370ef1a1',5,0);
INSERT INTO "metrics" VALUES('validation_mae',3.9028072357177734375e-01,1795811601451,'df585279a62d469f9a16573d370ef1a1',6,0);
INSERT INTO "metrics" VALUES('validation_mae',0.390336349606514,1795811601451,'df585279a62d469f9a16573d370ef1a1',7,0);
INSERT INTO "metrics" VALUES('validation_mae',3.90391781926155090332e-01,1795811601451,'df585279a62d469f9a16573d370ef1a1',8,0);
INSERT INTO "metrics" VALUES('validation_mae',3.90446051955223083496e-01,1795811601451,'df585279a62d469f9a16573d370ef1a1',9,0);
INSERT INTO "metrics" VALUES('validation_mae',3.90499666333198547363e-01,1795811601451,'df585279a62d469f9a16573d370ef1a1',10,0);
INSERT INTO "metrics" VALUES('validation_mae',3.90552595257759094238e-01,1795811601451,'df585279a62d469f9a16573d370ef1a1',11,0);
INSERT INTO "metrics" VALUES('validation_mae',3.90604808926582336425e-01,1795811601451,'df585279a62d469f9a16573d370ef1a1',12,0);
INSERT INTO "metrics" VALUES('duration',0.873,1795811601447,'df585279a62d469f9a16573d370ef1a1',0,0);
INSERT INTO "metrics" VALUES('best_validation_mae',3.90081822872161865234e-01,1795811601447,'df585279a62d469f9a16573d370ef1a1',0,0);
INSERT INTO "metrics" VALUES('trials/waiting',0.0,1795811601676,'800b8e398cde4953b43d17823d140b44',3,0);
INSERT INTO "metrics" VALUES('trials/running',0.0,1795811601676,'800b8e398cde4953b43d17823d140b44',3,0);
INSERT INTO "metrics" VALUES('trials/complete',3.0,1795811601676,'800b8e398cde4953b43d17823d140b44',3,0);
INSERT INTO "metrics" VALUES('trials/pruned',0.0,1795811601676,'800b8e398cde4953b43d17823d140b44',3,0);
INSERT INTO "metrics" VALUES('trials/failed',0.0,1795811601676,'800b8e398cde4953b43d17823d140b44',3,0);
INSERT INTO "metrics" VALUES('trials/retried',0.0,1795811601676,'800b8e398cde4953b43d17823d140b44',3,0);
INSERT INTO "metrics" VALUES('best_validation_mae',3.89747798442840576171e-01,1795811601676,'800b8e398cde4953b43d17823d140b44',3,0);
INSERT INTO "metrics" VALUES('run/mae',3.3766810099283856017e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/accuracy',3.33333333333333314829e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/within_one',1.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/precision',1.11111111111111104943e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/level_0/precision',0.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/level_1/precision',3.33333333333333314829e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/level_2/precision',0.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/recall',3.33333333333333314829e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/level_0/recall',0.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/level_1/recall',1.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/level_2/recall',0.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/f1',1.66666666666666657414e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/level_0/f1',0.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/level_1/f1',0.5,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/level_2/f1',0.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/spearman',5.00000000000000111022e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/spearman_lowest',5.00000000000000111022e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/coverage',6.66666666666666629659e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/width',0.977436367568615,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/maps',3.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/majority_level/mae',0.5,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/majority_level/accuracy',3.33333333333333314829e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/majority_level/within_one',6.66666666666666629659e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/majority_level/precision',1.11111111111111104943e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/majority_level/recall',3.33333333333333314829e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/majority_level/f1',1.66666666666666657414e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/majority_level/spearman',0.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/majority_level/spearman_lowest',0.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/majority_level/maps',3.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/activation_deviation/mae',8.33333333333333287074e-02,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/activation_deviation/accuracy',1.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/activation_deviation/within_one',1.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/activation_deviation/precision',1.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/activation_deviation/recall',1.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/activation_deviation/f1',1.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/activation_deviation/spearman',1.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/activation_deviation/spearman_lowest',1.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/activation_deviation/maps',3.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/effective_rank/mae',0.5,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/effective_rank/accuracy',3.33333333333333314829e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/effective_rank/within_one',6.66666666666666629659e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/effective_rank/precision',1.11111111111111104943e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/effective_rank/recall',3.33333333333333314829e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/effective_rank/f1',1.66666666666666657414e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/effective_rank/spearman',0.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/effective_rank/spearman_lowest',0.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/effective_rank/maps',3.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/extra_trees/mae',0.32375,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/extra_trees/accuracy',6.66666666666666629659e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/extra_trees/within_one',1.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/extra_trees/precision',0.5,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/extra_trees/recall',6.66666666666666629659e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/extra_trees/f1',5.55555555555555469204e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/extra_trees/spearman',1.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/extra_trees/spearman_lowest',1.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('run/extra_trees/maps',3.0,0,'6af4ef83762a4edfa13ed58f33c078bb',0,0);
INSERT INTO "metrics" VALUES('validation_mae',3.82267639040946960449e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',1,0);
INSERT INTO "metrics" VALUES('validation_mae',3.82087081670761108398e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',2,0);
INSERT INTO "metrics" VALUES('validation_mae',3.81874263286590576171e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',3,0);
INSERT INTO "metrics" VALUES('validation_mae',3.81700113415718078613e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',4,0);
INSERT INTO "metrics" VALUES('validation_mae',3.81627485156059265136e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',5,0);
INSERT INTO "metrics" VALUES('validation_mae',3.8157990574836730957e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',6,0);
INSERT INTO "metrics" VALUES('validation_mae',3.81562724709510803222e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',7,0);
INSERT INTO "metrics" VALUES('validation_mae',3.81792366504669189453e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',8,0);
INSERT INTO "metrics" VALUES('validation_mae',3.81929695606231689453e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',9,0);
INSERT INTO "metrics" VALUES('validation_mae',3.82141217589378356933e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',10,0);
INSERT INTO "metrics" VALUES('validation_mae',3.82165625691413879394e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',11,0);
INSERT INTO "metrics" VALUES('validation_mae',3.8220551609992980957e-01,0,'6af4ef83762a4edfa13ed58f33c078bb',12,0);
INSERT INTO "metrics" VALUES('run/mae',3.3766810099283856017e-01,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/accuracy',3.33333333333333314829e-01,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/within_one',1.0,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/precision',1.11111111111111104943e-01,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/level_0/precision',0.0,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/level_1/precision',3.33333333333333314829e-01,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/level_2/precision',0.0,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/recall',3.33333333333333314829e-01,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/level_0/recall',0.0,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/level_1/recall',1.0,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/level_2/recall',0.0,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/f1',1.66666666666666657414e-01,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/level_0/f1',0.0,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/level_1/f1',0.5,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/level_2/f1',0.0,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/spearman',5.00000000000000111022e-01,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/spearman_lowest',5.00000000000000111022e-01,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/coverage',6.66666666666666629659e-01,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/width',0.977436367568615,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('run/maps',3.0,1795811609403,'800b8e398cde4953b43d17823d140b44',0,0);
INSERT INTO "metrics" VALUES('fmcs_predicted',0.496879480779171,1795811645495,'ee7fb6a60d2b424488ba7744918eb153',0,0);
INSERT INTO "metrics" VALUES('fmcs_predicted/stage',0.496879480779171,1795811645495,'ee7fb6a60d2b424488ba7744918eb153',0,0);
INSERT INTO "metrics" VALUES('fmcs_std/stage',3.16323556672610695095e-01,1795811645495,'ee7fb6a60d2b424488ba7744918eb153',0,0);
INSERT INTO "metrics" VALUES('fmcs_measured',1.0,1795811645495,'ee7fb6a60d2b424488ba7744918eb153',0,0);
INSERT INTO "metrics" VALUES('fmcs_predicted',7.22314959391951560974e-01,1795811675751,'c1905a9d7178459790004867050bf666',0,0);
INSERT INTO "metrics" VALUES('fmcs_predicted/stage',7.22314959391951560974e-01,1795811675751,'c1905a9d7178459790004867050bf666',0,0);
INSERT INTO "metrics" VALUES('fmcs_std/stage',3.29988794115361749881e-01,1795811675751,'c1905a9d7178459790004867050bf666',0,0);
INSERT INTO "metrics" VALUES('fmcs_measured',1.0,1795811675751,'c1905a9d7178459790004867050bf666',0,0);
INSERT INTO "metrics" VALUES('train_loss',2.36574304103851318359e+00,1795811708923,'ba1c929be1d24ac18306cd4288ba1352',0,0);
INSERT INTO "metrics" VALUES('val_loss',2.28436126708984366118e+00,1795811708923,'ba1c929be1d24ac18306cd4288ba1352',0,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.1,1795811708923,'ba1c929be1d24ac18306cd4288ba1352',0,0);
INSERT INTO "metrics" VALUES('epoch',0.0,1795811708923,'ba1c929be1d24ac18306cd4288ba1352',0,0);
INSERT INTO "metrics" VALUES('images_per_second',0.0,1795811708923,'ba1c929be1d24ac18306cd4288ba1352',0,0);
INSERT INTO "metrics" VALUES('focus/stage',4.10136399739555290722e-01,1795811708923,'ba1c929be1d24ac18306cd4288ba1352',0,0);
INSERT INTO "metrics" VALUES('train_loss',2.34324383735656738281e+00,1795811709111,'ba1c929be1d24ac18306cd4288ba1352',1,0);
INSERT INTO "metrics" VALUES('val_loss',2.07165441513061532319e+00,1795811709111,'ba1c929be1d24ac18306cd4288ba1352',1,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.2,1795811709111,'ba1c929be1d24ac18306cd4288ba1352',1,0);
INSERT INTO "metrics" VALUES('epoch',0.5,1795811709111,'ba1c929be1d24ac18306cd4288ba1352',1,0);
INSERT INTO "metrics" VALUES('images_per_second',1.67910064012135262605e+03,1795811709111,'ba1c929be1d24ac18306cd4288ba1352',1,0);
INSERT INTO "metrics" VALUES('drift/stage',5.65158877965606931681e-02,1795811709111,'ba1c929be1d24ac18306cd4288ba1352',1,0);
INSERT INTO "metrics" VALUES('focus/stage',1.78849371913643584441e-01,1795811709111,'ba1c929be1d24ac18306cd4288ba1352',1,0);
INSERT INTO "metrics" VALUES('train_loss',1.89032304286956787109e+00,1795811709283,'ba1c929be1d24ac18306cd4288ba1352',2,0);
INSERT INTO "metrics" VALUES('val_loss',1.4082000732421875444e+00,1795811709283,'ba1c929be1d24ac18306cd4288ba1352',2,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.6,1795811709283,'ba1c929be1d24ac18306cd4288ba1352',2,0);
INSERT INTO "metrics" VALUES('epoch',1.0,1795811709283,'ba1c929be1d24ac18306cd4288ba1352',2,0);
INSERT INTO "metrics" VALUES('images_per_second',2.22246998648869521276e+03,1795811709283,'ba1c929be1d24ac18306cd4288ba1352',2,0);
INSERT INTO "metrics" VALUES('drift/stage',4.22923134952535306751e-02,1795811709283,'ba1c929be1d24ac18306cd4288ba1352',2,0);
INSERT INTO "metrics" VALUES('focus/stage',0.0,1795811709283,'ba1c929be1d24ac18306cd4288ba1352',2,0);
INSERT INTO "metrics" VALUES('train_loss',1.18847405910491943359e+00,1795811709440,'ba1c929be1d24ac18306cd4288ba1352',3,0);
INSERT INTO "metrics" VALUES('val_loss',1.22518143653869637788e+00,1795811709440,'ba1c929be1d24ac18306cd4288ba1352',3,0);
INSERT INTO "metrics" VALUES('val_accuracy',0.625,1795811709440,'ba1c929be1d24ac18306cd4288ba1352',3,0);
INSERT INTO "metrics" VALUES('epoch',1.5,1795811709440,'ba1c929be1d24ac18306cd4288ba1352',3,0);
INSERT INTO "metrics" VALUES('images_per_second',1.46504910187587097424e+03,1795811709440,'ba1c929be1d24ac18306cd4288ba1352',3,0);
INSERT INTO "metrics" VALUES('drift/stage',3.32711794428296459003e-02,1795811709440,'ba1c929be1d24ac18306cd4288ba1352',3,0);
INSERT INTO "metrics" VALUES('focus/stage',0.0,1795811709440,'ba1c929be1d24ac18306cd4288ba1352',3,0);
CREATE TABLE "model_definitions" (
	model_definition_id VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	secret_id VARCHAR(36), 
	provider VARCHAR(64) NOT NULL, 
	model_name VARCHAR(256) NOT NULL, 
	created_by VARCHAR(255), 
	created_at BIGINT NOT NULL, 
	last_updated_by VARCHAR(255), 
	last_updated_at BIGINT NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT model_definitions_pk PRIMARY KEY (model_definition_id), 
	CONSTRAINT fk_model_definitions_secret_id FOREIGN KEY(secret_id) REFERENCES secrets (secret_id) ON DELETE SET NULL, 
	CONSTRAINT uq_model_definitions_workspace_name UNIQUE (workspace, name)
);
CREATE TABLE "model_version_tags" (
	"key" VARCHAR(250) NOT NULL, 
	value TEXT, 
	name VARCHAR(256) NOT NULL, 
	version INTEGER NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT model_version_tag_pk PRIMARY KEY (workspace, "key", name, version), 
	CONSTRAINT fk_model_version_tags_model_versions FOREIGN KEY(workspace, name, version) REFERENCES model_versions (workspace, name, version) ON UPDATE CASCADE
);
CREATE TABLE "model_versions" (
	name VARCHAR(256) NOT NULL, 
	version INTEGER NOT NULL, 
	creation_time BIGINT, 
	last_updated_time BIGINT, 
	description VARCHAR(5000), 
	user_id VARCHAR(256), 
	current_stage VARCHAR(20), 
	source VARCHAR(500), 
	run_id VARCHAR(32), 
	status VARCHAR(20), 
	status_message VARCHAR(500), 
	run_link VARCHAR(500), 
	storage_location VARCHAR(500), 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT model_version_pk PRIMARY KEY (workspace, name, version), 
	CONSTRAINT fk_model_versions_registered_models FOREIGN KEY(workspace, name) REFERENCES registered_models (workspace, name) ON UPDATE CASCADE
);
INSERT INTO "model_versions" VALUES('legacy',1,1795811459149,1795811459149,NULL,NULL,'None','models:/m-e031f0a98b3b4b96a2d864c816fdd5be','fdd60a53da8a4d7ba34d6a3cb08c4eeb','READY',NULL,NULL,'@LEGACY@/artifacts/1/models/m-e031f0a98b3b4b96a2d864c816fdd5be/artifacts','default');
INSERT INTO "model_versions" VALUES('legacy-set',1,1795811557389,1795811557389,NULL,NULL,'None','models:/m-475529a4d09e42e0abd4f1812c347c3c','cf568fe3443c4ef9881304f710a94e89','READY',NULL,NULL,'@LEGACY@/artifacts/1/models/m-475529a4d09e42e0abd4f1812c347c3c/artifacts','default');
INSERT INTO "model_versions" VALUES('legacy-outline',1,1795811573718,1795811573718,NULL,NULL,'None','models:/m-ebd564e0d5d348fa843f65fed835e2c4','5d0150734975413a8c1e32c51e5fa811','READY',NULL,NULL,'@LEGACY@/artifacts/1/models/m-ebd564e0d5d348fa843f65fed835e2c4/artifacts','default');
INSERT INTO "model_versions" VALUES('legacy-tuned',1,1795811609249,1795811609249,NULL,NULL,'None','models:/m-2336080fdd2a482bb785f65feb6e4581','6af4ef83762a4edfa13ed58f33c078bb','READY',NULL,NULL,'@LEGACY@/artifacts/1/models/m-2336080fdd2a482bb785f65feb6e4581/artifacts','default');
CREATE TABLE online_scoring_configs (
	online_scoring_config_id VARCHAR(36) NOT NULL, 
	scorer_id VARCHAR(36) NOT NULL, 
	sample_rate FLOAT NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	filter_string TEXT, 
	CONSTRAINT online_scoring_config_pk PRIMARY KEY (online_scoring_config_id), 
	CONSTRAINT fk_online_scoring_configs_scorer_id FOREIGN KEY(scorer_id) REFERENCES scorers (scorer_id) ON DELETE CASCADE, 
	CONSTRAINT fk_online_scoring_configs_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id)
);
CREATE TABLE "params" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000) NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT param_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO "params" VALUES('backbone','tests.data.legacy_net:tiny','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('dataset','digits','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('data_root','data','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('download','False','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('modules','stage','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('stem','auto','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('image_size','8','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('train_size','96','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('validation_size','40','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('probe_size','16','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('split_seed','0','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('map_size','','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('keep','all','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('signal','train','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('log_checkpoints','False','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('model_format','pt2','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('register_as','legacy','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('epochs','4','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('snapshots_per_epoch','2','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('batch_size','16','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('gradient_accumulation','1','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('optimizer','adamw','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('lr','0.05','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('momentum','0.9','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('weight_decay','0.01','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('schedule','cosine','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('warmup_epochs','1.0','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('label_smoothing','0.0','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('augmentation','none','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('precision','no','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('channels_last','False','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('seed','0','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('num_workers','0','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('cpu','True','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('smoothing','0.0','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('window','1','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('threshold','0.25','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('aggregation','mean','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('rule','settled','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('levels','3','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('spacing','time','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('input_size','8x8','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('stem_used','stock','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('modules_used','stage','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('train_images','96','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('validation_images','40','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('probe_images','16','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('probe_sha256','e5b9dc559f20dfc3a55361a3fd9fab31a5a828858c38950f5e0f1ef4998064eb','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('classes','10','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('processes','1','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('device','cpu','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "params" VALUES('backbone','tests.data.legacy_net:tiny','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('dataset','digits','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('data_root','data','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('download','False','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('modules','stage','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('stem','auto','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('image_size','8','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('train_size','96','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('validation_size','40','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('probe_size','16','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('split_seed','0','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('map_size','','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('keep','all','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('signal','train','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('log_checkpoints','False','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('model_format','pickle','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('register_as','','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('epochs','4','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('snapshots_per_epoch','2','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('batch_size','16','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('gradient_accumulation','1','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('optimizer','adamw','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('lr','0.05','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('momentum','0.9','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('weight_decay','0.01','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('schedule','cosine','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('warmup_epochs','1.0','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('label_smoothing','0.0','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('augmentation','none','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('precision','no','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('channels_last','False','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('seed','1','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('num_workers','0','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('cpu','True','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('smoothing','0.0','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('window','1','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('threshold','0.25','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('aggregation','mean','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('rule','settled','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('levels','3','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('spacing','time','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('input_size','8x8','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('stem_used','stock','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('modules_used','stage','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('train_images','96','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('validation_images','40','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('probe_images','16','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('probe_sha256','e5b9dc559f20dfc3a55361a3fd9fab31a5a828858c38950f5e0f1ef4998064eb','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('classes','10','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('processes','1','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('device','cpu','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "params" VALUES('backbone','tests.data.legacy_net:tiny','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('dataset','digits','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('data_root','data','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('download','False','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('modules','stage','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('stem','auto','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('image_size','8','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('train_size','96','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('validation_size','40','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('probe_size','16','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('split_seed','0','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('map_size','','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('keep','markers','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('signal','train','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('log_checkpoints','False','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('model_format','pickle','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('register_as','','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('epochs','4','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('snapshots_per_epoch','2','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('batch_size','16','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('gradient_accumulation','1','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('optimizer','adamw','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('lr','0.05','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('momentum','0.9','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('weight_decay','0.01','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('schedule','cosine','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('warmup_epochs','1.0','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('label_smoothing','0.0','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('augmentation','none','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('precision','no','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('channels_last','False','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('seed','2','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('num_workers','0','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('cpu','True','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('smoothing','0.0','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('window','1','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('threshold','0.25','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('aggregation','mean','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('rule','settled','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('levels','3','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('spacing','time','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('input_size','8x8','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('stem_used','stock','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('modules_used','stage','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('train_images','96','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('validation_images','40','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('probe_images','16','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('probe_sha256','e5b9dc559f20dfc3a55361a3fd9fab31a5a828858c38950f5e0f1ef4998064eb','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('classes','10','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('processes','1','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('device','cpu','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "params" VALUES('smoothing','0.0','4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "params" VALUES('window','1','4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "params" VALUES('threshold','0.25','4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "params" VALUES('aggregation','mean','4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "params" VALUES('rule','settled','4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "params" VALUES('levels','3','4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "params" VALUES('spacing','time','4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "params" VALUES('signal','train','4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "params" VALUES('source_runs_used','fdd60a53da8a4d7ba34d6a3cb08c4eeb,80284407420c4d30a51d4afd21a56f85,8fef112dec9b4c99beb4bea26a348b5e','4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "params" VALUES('kind','set','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('protocols','run','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('cross_validate','False','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('bags.bag_size','8','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('bags.bags_per_map','2','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('bags.test_share','0.5','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('bags.seed','0','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('net.statistics','both','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('net.reference','False','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('net.scaling','standard','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('net.width','16','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('net.depth','2','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('net.dropout','0.2','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('net.input_dropout','0.2','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('net.members','1','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('fit.epochs','12','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('fit.patience','40','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('fit.folds','2','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('fit.batch_size','32','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('fit.lr','0.002','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('fit.weight_decay','0.01','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('fit.label_width','0.05','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('fit.averaging','0.98','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('fit.noise','0.0','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('fit.seed','0','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('fmcs_run_used','4a8e1e0c3e654d40b1973150bc7b4cef','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('levels','3','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "params" VALUES('kind','outline','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('protocols','images','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('cross_validate','False','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('bags.bag_size','8','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('bags.bags_per_map','2','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('bags.test_share','0.5','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('bags.seed','0','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('net.features','8','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('net.blocks','1','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('net.heads','2','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('net.dropout','0.2','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('fit.epochs','12','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('fit.patience','40','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('fit.folds','2','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('fit.batch_size','32','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('fit.lr','0.002','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('fit.weight_decay','0.01','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('fit.label_width','0.05','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('fit.averaging','0.98','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('fit.noise','0.0','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('fit.seed','0','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('fmcs_run_used','4a8e1e0c3e654d40b1973150bc7b4cef','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('levels','3','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "params" VALUES('study_name','fmce','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('storage_used','sqlite:///optuna.db','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('sampler','TPE','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('pruner','median','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('trials','3','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('seed','0','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('fixed.fmcs_run','4a8e1e0c3e654d40b1973150bc7b4cef','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('fixed.protocol','run','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('fixed.folds','2','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('fixed.patience','40','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('fixed.members','1','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('fixed.test_share','0.5','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('fixed.seed','0','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('space.averaging','[0.0, 0.9, 0.98, 0.995]','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('space.bag_size','[8]','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('space.bags_per_map','[2]','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('space.batch_size','[16, 32, 64]','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('space.depth','[1]','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('space.dropout','{"high": 0.5, "low": 0.0}','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('space.epochs','[12]','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('space.input_dropout','{"high": 0.5, "low": 0.0}','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('space.label_width','{"high": 0.12, "low": 0.02}','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('space.lr','{"high": 0.01, "log": true, "low": 0.0003}','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('space.noise','{"high": 0.3, "low": 0.0}','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('space.reference','[false, true]','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('space.scaling','["standard", "quantile"]','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('space.statistics','["both"]','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('space.weight_decay','{"high": 0.3, "log": true, "low": 0.0001}','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('space.width','[16]','800b8e398cde4953b43d17823d140b44');
INSERT INTO "params" VALUES('statistics','both','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "params" VALUES('reference','True','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "params" VALUES('scaling','standard','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "params" VALUES('width','16','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "params" VALUES('depth','1','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "params" VALUES('dropout','0.21182739966945235','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "params" VALUES('input_dropout','0.32294705653332806','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "params" VALUES('bag_size','8','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "params" VALUES('bags_per_map','2','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "params" VALUES('lr','0.0013915971093684705','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "params" VALUES('weight_decay','0.12612548678037216','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "params" VALUES('batch_size','16','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "params" VALUES('label_width','0.07288949197529045','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "params" VALUES('averaging','0.9','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "params" VALUES('noise','0.006065519232097715','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "params" VALUES('epochs','12','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "params" VALUES('statistics','both','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "params" VALUES('reference','False','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "params" VALUES('scaling','quantile','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "params" VALUES('width','16','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "params" VALUES('depth','1','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "params" VALUES('dropout','0.3995792821083618','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "params" VALUES('input_dropout','0.23073968112646592','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "params" VALUES('bag_size','8','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "params" VALUES('bags_per_map','2','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "params" VALUES('lr','0.004632042626636102','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "params" VALUES('weight_decay','0.00025778314631972146','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "params" VALUES('batch_size','64','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "params" VALUES('label_width','0.07218483217500717','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "params" VALUES('averaging','0.98','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "params" VALUES('noise','0.17053018466059455','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "params" VALUES('epochs','12','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "params" VALUES('statistics','both','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "params" VALUES('reference','True','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "params" VALUES('scaling','quantile','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "params" VALUES('width','16','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "params" VALUES('depth','1','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "params" VALUES('dropout','0.4718740392573121','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "params" VALUES('input_dropout','0.3409101495517417','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "params" VALUES('bag_size','8','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "params" VALUES('bags_per_map','2','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "params" VALUES('lr','0.0010582985358032332','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "params" VALUES('weight_decay','0.003308362546133906','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "params" VALUES('batch_size','16','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "params" VALUES('label_width','0.08706378696181594','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "params" VALUES('averaging','0.995','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "params" VALUES('noise','0.1710590311253639','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "params" VALUES('epochs','12','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "params" VALUES('kind','set','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('protocols','run','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('cross_validate','False','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('bags.bag_size','8','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('bags.bags_per_map','2','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('bags.test_share','0.5','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('bags.seed','0','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('net.statistics','both','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('net.reference','True','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('net.scaling','standard','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('net.width','16','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('net.depth','1','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('net.dropout','0.21182739966945235','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('net.input_dropout','0.32294705653332806','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('net.members','1','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('fit.epochs','12','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('fit.patience','40','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('fit.folds','2','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('fit.batch_size','16','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('fit.lr','0.0013915971093684705','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('fit.weight_decay','0.12612548678037216','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('fit.label_width','0.07288949197529045','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('fit.averaging','0.9','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('fit.noise','0.006065519232097715','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('fit.seed','0','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('fmcs_run_used','4a8e1e0c3e654d40b1973150bc7b4cef','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('levels','3','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "params" VALUES('backbone','tests.data.legacy_net:tiny','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('dataset','digits','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('data_root','data','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('download','False','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('modules','stage','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('stem','auto','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('image_size','8','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('train_size','96','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('validation_size','40','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('probe_size','16','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('split_seed','0','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('map_size','','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('keep','all','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('signal','train','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('log_checkpoints','False','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('model_format','pickle','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('register_as','','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('epochs','4','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('snapshots_per_epoch','2','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('batch_size','16','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('gradient_accumulation','1','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('optimizer','adamw','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('lr','0.05','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('momentum','0.9','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('weight_decay','0.01','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('schedule','cosine','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('warmup_epochs','1.0','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('label_smoothing','0.0','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('augmentation','none','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('precision','no','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('channels_last','False','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('seed','0','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('num_workers','0','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('cpu','True','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('smoothing','0.0','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('window','1','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('threshold','0.25','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('aggregation','mean','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('rule','settled','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('levels','3','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('spacing','time','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('input_size','8x8','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('stem_used','stock','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('modules_used','stage','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('train_images','96','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('validation_images','40','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('probe_images','16','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('probe_sha256','e5b9dc559f20dfc3a55361a3fd9fab31a5a828858c38950f5e0f1ef4998064eb','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('classes','10','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('processes','1','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "params" VALUES('device','cpu','ba1c929be1d24ac18306cd4288ba1352');
CREATE TABLE "registered_model_aliases" (
	alias VARCHAR(256) NOT NULL, 
	version INTEGER NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT registered_model_alias_pk PRIMARY KEY (workspace, name, alias), 
	CONSTRAINT fk_registered_model_aliases_registered_models FOREIGN KEY(workspace, name) REFERENCES registered_models (workspace, name) ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE TABLE "registered_model_tags" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(5000), 
	name VARCHAR(256) NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT registered_model_tag_pk PRIMARY KEY (workspace, "key", name), 
	CONSTRAINT fk_registered_model_tags_registered_models FOREIGN KEY(workspace, name) REFERENCES registered_models (workspace, name) ON UPDATE CASCADE
);
CREATE TABLE "registered_models" (
	name VARCHAR(256) NOT NULL, 
	creation_time BIGINT, 
	last_updated_time BIGINT, 
	description VARCHAR(5000), 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT registered_model_pk PRIMARY KEY (workspace, name)
);
INSERT INTO "registered_models" VALUES('legacy',1795811459100,1795811459149,NULL,'default');
INSERT INTO "registered_models" VALUES('legacy-set',1795811557329,1795811557389,NULL,'default');
INSERT INTO "registered_models" VALUES('legacy-outline',1795811573661,1795811573718,NULL,'default');
INSERT INTO "registered_models" VALUES('legacy-tuned',1795811609173,1795811609249,NULL,'default');
CREATE TABLE review_queue_items (
	queue_id VARCHAR(36) NOT NULL, 
	item_type VARCHAR(16) NOT NULL, 
	item_id VARCHAR(50) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	completed_by VARCHAR(250), 
	completed_time_ms BIGINT, 
	creation_time_ms BIGINT NOT NULL, 
	last_update_time_ms BIGINT NOT NULL, 
	CONSTRAINT review_queue_items_pk PRIMARY KEY (queue_id, item_id), 
	CONSTRAINT fk_review_queue_items_queue_id FOREIGN KEY(queue_id) REFERENCES review_queues (queue_id) ON DELETE CASCADE
);
CREATE TABLE review_queue_label_schemas (
	queue_id VARCHAR(36) NOT NULL, 
	schema_id VARCHAR(36) NOT NULL, 
	CONSTRAINT review_queue_label_schemas_pk PRIMARY KEY (queue_id, schema_id), 
	CONSTRAINT fk_review_queue_label_schemas_queue_id FOREIGN KEY(queue_id) REFERENCES review_queues (queue_id) ON DELETE CASCADE
);
CREATE TABLE review_queue_users (
	queue_id VARCHAR(36) NOT NULL, 
	user_id VARCHAR(250) NOT NULL, 
	CONSTRAINT review_queue_users_pk PRIMARY KEY (queue_id, user_id), 
	CONSTRAINT fk_review_queue_users_queue_id FOREIGN KEY(queue_id) REFERENCES review_queues (queue_id) ON DELETE CASCADE
);
CREATE TABLE review_queues (
	queue_id VARCHAR(36) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	name VARCHAR(250) NOT NULL, 
	queue_type VARCHAR(16) NOT NULL, 
	created_by VARCHAR(255), 
	creation_time_ms BIGINT NOT NULL, 
	last_update_time_ms BIGINT NOT NULL, 
	name_key VARCHAR(250) NOT NULL, 
	CONSTRAINT review_queues_pk PRIMARY KEY (queue_id), 
	CONSTRAINT fk_review_queues_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id) ON DELETE CASCADE, 
	CONSTRAINT uq_review_queues_experiment_name_key UNIQUE (experiment_id, name_key)
);
CREATE TABLE "runs" (
	run_uuid VARCHAR(32) NOT NULL, 
	name VARCHAR(250), 
	source_type VARCHAR(20), 
	source_name VARCHAR(500), 
	entry_point_name VARCHAR(50), 
	user_id VARCHAR(256), 
	status VARCHAR(9), 
	start_time BIGINT, 
	end_time BIGINT, 
	source_version VARCHAR(50), 
	lifecycle_stage VARCHAR(20), 
	artifact_uri VARCHAR(200), 
	experiment_id INTEGER, deleted_time BIGINT, 
	CONSTRAINT run_pk PRIMARY KEY (run_uuid), 
	CONSTRAINT runs_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')), 
	CONSTRAINT source_type CHECK (source_type IN ('NOTEBOOK', 'JOB', 'LOCAL', 'UNKNOWN', 'PROJECT')), 
	FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CHECK (status IN ('SCHEDULED', 'FAILED', 'FINISHED', 'RUNNING', 'KILLED'))
);
INSERT INTO "runs" VALUES('fdd60a53da8a4d7ba34d6a3cb08c4eeb','tests.data.legacy_net:tiny on digits, seed 0','UNKNOWN','','','unknown','FINISHED',1795811453075,1795811459196,'','active','@LEGACY@/artifacts/1/fdd60a53da8a4d7ba34d6a3cb08c4eeb/artifacts',1,NULL);
INSERT INTO "runs" VALUES('80284407420c4d30a51d4afd21a56f85','tests.data.legacy_net:tiny on digits, seed 1','UNKNOWN','','','unknown','FINISHED',1795811479878,1795811484775,'','active','@LEGACY@/artifacts/1/80284407420c4d30a51d4afd21a56f85/artifacts',1,NULL);
INSERT INTO "runs" VALUES('8fef112dec9b4c99beb4bea26a348b5e','tests.data.legacy_net:tiny on digits, seed 2','UNKNOWN','','','unknown','FINISHED',1795811507797,1795811512747,'','active','@LEGACY@/artifacts/1/8fef112dec9b4c99beb4bea26a348b5e/artifacts',1,NULL);
INSERT INTO "runs" VALUES('4a8e1e0c3e654d40b1973150bc7b4cef','fmcs_dataset','UNKNOWN','','','unknown','FINISHED',1795811532651,1795811532978,'','active','@LEGACY@/artifacts/1/4a8e1e0c3e654d40b1973150bc7b4cef/artifacts',1,NULL);
INSERT INTO "runs" VALUES('cf568fe3443c4ef9881304f710a94e89','fmce_net','UNKNOWN','','','unknown','FINISHED',1795811545134,1795811557475,'','active','@LEGACY@/artifacts/1/cf568fe3443c4ef9881304f710a94e89/artifacts',1,NULL);
INSERT INTO "runs" VALUES('5d0150734975413a8c1e32c51e5fa811','fmce_net','UNKNOWN','','','unknown','FINISHED',1795811568730,1795811573779,'','active','@LEGACY@/artifacts/1/5d0150734975413a8c1e32c51e5fa811/artifacts',1,NULL);
INSERT INTO "runs" VALUES('800b8e398cde4953b43d17823d140b44','tuning','UNKNOWN','','','unknown','FINISHED',1795811592518,1795811609515,'','active','@LEGACY@/artifacts/1/800b8e398cde4953b43d17823d140b44/artifacts',1,NULL);
INSERT INTO "runs" VALUES('50a66d193473476b97ddd9a52163d7e1','trial 000','UNKNOWN','','','unknown','FINISHED',1795811592909,1795811599951,'','active','@LEGACY@/artifacts/1/50a66d193473476b97ddd9a52163d7e1/artifacts',1,NULL);
INSERT INTO "runs" VALUES('a9f09de8f5574a77b3d6b2d569e02c58','trial 001','UNKNOWN','','','unknown','FINISHED',1795811599970,1795811600712,'','active','@LEGACY@/artifacts/1/a9f09de8f5574a77b3d6b2d569e02c58/artifacts',1,NULL);
INSERT INTO "runs" VALUES('df585279a62d469f9a16573d370ef1a1','trial 002','UNKNOWN','','','unknown','FINISHED',1795811600625,1795811601595,'','active','@LEGACY@/artifacts/1/df585279a62d469f9a16573d370ef1a1/artifacts',1,NULL);
INSERT INTO "runs" VALUES('6af4ef83762a4edfa13ed58f33c078bb','best net','UNKNOWN','','','unknown','FINISHED',1795811603816,1795811609359,'','active','@LEGACY@/artifacts/1/6af4ef83762a4edfa13ed58f33c078bb/artifacts',1,NULL);
INSERT INTO "runs" VALUES('ee7fb6a60d2b424488ba7744918eb153','evaluation of models:/legacy/1','UNKNOWN','','','unknown','FINISHED',1795811643518,1795811645587,'','active','@LEGACY@/artifacts/1/ee7fb6a60d2b424488ba7744918eb153/artifacts',1,NULL);
INSERT INTO "runs" VALUES('c1905a9d7178459790004867050bf666','evaluation of models:/legacy/1','UNKNOWN','','','unknown','FINISHED',1795811673823,1795811675840,'','active','@LEGACY@/artifacts/1/c1905a9d7178459790004867050bf666/artifacts',1,NULL);
INSERT INTO "runs" VALUES('ba1c929be1d24ac18306cd4288ba1352','tests.data.legacy_net:tiny on digits, seed 0','UNKNOWN','','','unknown','RUNNING',1795811708298,NULL,'','active','@LEGACY@/artifacts/1/ba1c929be1d24ac18306cd4288ba1352/artifacts',1,NULL);
CREATE TABLE scheduler_leases (
	lease_key VARCHAR(255) NOT NULL, 
	acquired_at BIGINT NOT NULL, 
	ttl_seconds INTEGER NOT NULL, 
	CONSTRAINT scheduler_leases_pk PRIMARY KEY (lease_key)
);
CREATE TABLE scorer_versions (
	scorer_id VARCHAR(36) NOT NULL, 
	scorer_version INTEGER NOT NULL, 
	serialized_scorer TEXT NOT NULL, 
	creation_time BIGINT, 
	CONSTRAINT scorer_version_pk PRIMARY KEY (scorer_id, scorer_version), 
	CONSTRAINT fk_scorer_versions_scorer_id FOREIGN KEY(scorer_id) REFERENCES scorers (scorer_id) ON DELETE CASCADE
);
CREATE TABLE scorers (
	experiment_id INTEGER NOT NULL, 
	scorer_name VARCHAR(256) NOT NULL, 
	scorer_id VARCHAR(36) NOT NULL, 
	CONSTRAINT scorer_pk PRIMARY KEY (scorer_id), 
	CONSTRAINT fk_scorers_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id) ON DELETE CASCADE
);
CREATE TABLE "secrets" (
	secret_id VARCHAR(36) NOT NULL, 
	secret_name VARCHAR(255) NOT NULL, 
	encrypted_value BLOB NOT NULL, 
	wrapped_dek BLOB NOT NULL, 
	kek_version INTEGER NOT NULL, 
	masked_value VARCHAR(500) NOT NULL, 
	provider VARCHAR(64), 
	auth_config TEXT, 
	description TEXT, 
	created_by VARCHAR(255), 
	created_at BIGINT NOT NULL, 
	last_updated_by VARCHAR(255), 
	last_updated_at BIGINT NOT NULL, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT secrets_pk PRIMARY KEY (secret_id), 
	CONSTRAINT uq_secrets_workspace_secret_name UNIQUE (workspace, secret_name)
);
CREATE TABLE span_metrics (
	trace_id VARCHAR(50) NOT NULL, 
	span_id VARCHAR(50) NOT NULL, 
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT, 
	CONSTRAINT span_metrics_pk PRIMARY KEY (trace_id, span_id, "key"), 
	CONSTRAINT fk_span_metrics_span FOREIGN KEY(trace_id, span_id) REFERENCES spans (trace_id, span_id) ON DELETE CASCADE
);
CREATE TABLE "spans" (
	trace_id VARCHAR(50) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	span_id VARCHAR(50) NOT NULL, 
	parent_span_id VARCHAR(50), 
	name TEXT, 
	type VARCHAR(500), 
	status VARCHAR(50) NOT NULL, 
	start_time_unix_nano BIGINT NOT NULL, 
	end_time_unix_nano BIGINT, 
	duration_ns BIGINT GENERATED ALWAYS AS (end_time_unix_nano - start_time_unix_nano) STORED, 
	content TEXT NOT NULL, 
	input_cost FLOAT, 
	output_cost FLOAT, 
	total_cost FLOAT, 
	model_name VARCHAR(500), 
	model_provider VARCHAR(500), 
	CONSTRAINT spans_pk PRIMARY KEY (trace_id, span_id), 
	CONSTRAINT fk_spans_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CONSTRAINT fk_spans_trace_id FOREIGN KEY(trace_id) REFERENCES trace_info (request_id) ON DELETE CASCADE
);
CREATE TABLE sql_assessment_daily_rollups (
	id INTEGER NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	rollup_day DATE NOT NULL, 
	metric_name VARCHAR(250) NOT NULL, 
	grouping_set VARCHAR(50) NOT NULL, 
	sample_count BIGINT NOT NULL, 
	sum_value FLOAT, 
	min_value FLOAT, 
	max_value FLOAT, 
	CONSTRAINT sql_assessment_daily_rollups_pk PRIMARY KEY (id)
);
CREATE TABLE sql_span_cost_daily_rollups (
	id INTEGER NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	rollup_day DATE NOT NULL, 
	metric_name VARCHAR(250) NOT NULL, 
	grouping_set VARCHAR(50) NOT NULL, 
	model_name VARCHAR(500), 
	model_provider VARCHAR(500), 
	sample_count BIGINT NOT NULL, 
	sum_value FLOAT, 
	min_value FLOAT, 
	max_value FLOAT, 
	CONSTRAINT sql_span_cost_daily_rollups_pk PRIMARY KEY (id)
);
CREATE TABLE sql_trace_metric_daily_rollups (
	id INTEGER NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	rollup_day DATE NOT NULL, 
	metric_name VARCHAR(250) NOT NULL, 
	grouping_set VARCHAR(50) NOT NULL, 
	trace_status VARCHAR(50), 
	sample_count BIGINT NOT NULL, 
	sum_value FLOAT, 
	min_value FLOAT, 
	max_value FLOAT, 
	p50_value FLOAT, 
	p90_value FLOAT, 
	p99_value FLOAT, 
	CONSTRAINT sql_trace_metric_daily_rollups_pk PRIMARY KEY (id)
);
CREATE TABLE sql_trace_rollup_rebuild_queue (
	experiment_id INTEGER NOT NULL, 
	rollup_day DATE NOT NULL, 
	rollup_family VARCHAR(50) NOT NULL, 
	CONSTRAINT sql_trace_rollup_rebuild_queue_pk PRIMARY KEY (experiment_id, rollup_day, rollup_family)
);
CREATE TABLE "tags" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000), 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT tag_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO "tags" VALUES('mlflow.runName','tests.data.legacy_net:tiny on digits, seed 0','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "tags" VALUES('fmce.role','backbone','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "tags" VALUES('fmce.probe_sha256','e5b9dc559f20dfc3a55361a3fd9fab31a5a828858c38950f5e0f1ef4998064eb','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "tags" VALUES('fmce.sha256/options.json','fd9fd266b23ef4c0a49b5e2da913cf8af2080642b6da3e2cbc4ddb7adb36a1a3','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "tags" VALUES('fmce.sha256/feature_maps/index.json','69de47ccfaacd3ca1f3542947fdf898003052d3c827d3e474e9ce445acfbafe1','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "tags" VALUES('fmce.converged','true','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "tags" VALUES('fmce.convergence_point','4','fdd60a53da8a4d7ba34d6a3cb08c4eeb');
INSERT INTO "tags" VALUES('mlflow.runName','tests.data.legacy_net:tiny on digits, seed 1','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "tags" VALUES('fmce.role','backbone','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "tags" VALUES('fmce.probe_sha256','e5b9dc559f20dfc3a55361a3fd9fab31a5a828858c38950f5e0f1ef4998064eb','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "tags" VALUES('fmce.sha256/options.json','2bae86b22b055f587b01b0a3f514bf7ce70b37417e1a12c6621b69731e89445f','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "tags" VALUES('fmce.sha256/feature_maps/index.json','8cb6a96c068ab79dec43fbf7237c9c4c8baba5bf8d8d4028111be081e06237c0','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "tags" VALUES('fmce.converged','true','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "tags" VALUES('fmce.convergence_point','4','80284407420c4d30a51d4afd21a56f85');
INSERT INTO "tags" VALUES('mlflow.runName','tests.data.legacy_net:tiny on digits, seed 2','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "tags" VALUES('fmce.role','backbone','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "tags" VALUES('fmce.probe_sha256','e5b9dc559f20dfc3a55361a3fd9fab31a5a828858c38950f5e0f1ef4998064eb','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "tags" VALUES('fmce.sha256/options.json','727f3c2d764f55dcb25becf9726cefc62fe3dcfc9a97c789b0a365500119f225','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "tags" VALUES('fmce.sha256/feature_maps/index.json','8db53002adfc5cf62bb4bc57c4638e754b96f368b4e67084adb6d5d5099cb0c4','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "tags" VALUES('fmce.converged','true','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "tags" VALUES('fmce.convergence_point','4','8fef112dec9b4c99beb4bea26a348b5e');
INSERT INTO "tags" VALUES('mlflow.runName','fmcs_dataset','4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "tags" VALUES('fmce.role','fmcs_dataset','4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "tags" VALUES('fmce.sha256/fmcs_dataset.parquet','6c4806d944345c9cad425bb4821edb9ddde8bd2ef4712186746156627d8d6c35','4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "tags" VALUES('mlflow.loggedArtifacts','[{"path": "fmcs_counts.json", "type": "table"}]','4a8e1e0c3e654d40b1973150bc7b4cef');
INSERT INTO "tags" VALUES('mlflow.runName','fmce_net','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "tags" VALUES('fmce.role','fmce_net','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "tags" VALUES('mlflow.loggedArtifacts','[{"path": "results.json", "type": "table"}, {"path": "results_by_run.json", "type": "table"}]','cf568fe3443c4ef9881304f710a94e89');
INSERT INTO "tags" VALUES('mlflow.runName','fmce_net','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "tags" VALUES('fmce.role','fmce_net','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "tags" VALUES('mlflow.loggedArtifacts','[{"path": "results.json", "type": "table"}, {"path": "results_by_run.json", "type": "table"}]','5d0150734975413a8c1e32c51e5fa811');
INSERT INTO "tags" VALUES('mlflow.runName','tuning','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('fmce.role','tuning','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('mlflow.parentRunId','800b8e398cde4953b43d17823d140b44','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "tags" VALUES('fmce.role','tuning','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "tags" VALUES('fmce.trial','0','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "tags" VALUES('fmce.trial_state','complete','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "tags" VALUES('mlflow.runName','trial 000','50a66d193473476b97ddd9a52163d7e1');
INSERT INTO "tags" VALUES('mlflow.parentRunId','800b8e398cde4953b43d17823d140b44','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "tags" VALUES('fmce.role','tuning','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "tags" VALUES('fmce.trial','1','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "tags" VALUES('fmce.trial_state','complete','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "tags" VALUES('mlflow.runName','trial 001','a9f09de8f5574a77b3d6b2d569e02c58');
INSERT INTO "tags" VALUES('mlflow.parentRunId','800b8e398cde4953b43d17823d140b44','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "tags" VALUES('fmce.role','tuning','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "tags" VALUES('fmce.trial','2','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "tags" VALUES('fmce.trial_state','complete','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "tags" VALUES('mlflow.runName','trial 002','df585279a62d469f9a16573d370ef1a1');
INSERT INTO "tags" VALUES('fmce.best_trial','0','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('fmce.best_run','50a66d193473476b97ddd9a52163d7e1','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('best.statistics','both','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('best.reference','True','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('best.scaling','standard','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('best.width','16','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('best.depth','1','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('best.dropout','0.21182739966945235','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('best.input_dropout','0.32294705653332806','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('best.bag_size','8','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('best.bags_per_map','2','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('best.lr','0.0013915971093684705','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('best.weight_decay','0.12612548678037216','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('best.batch_size','16','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('best.label_width','0.07288949197529045','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('best.averaging','0.9','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('best.noise','0.006065519232097715','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('best.epochs','12','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('mlflow.loggedArtifacts','[{"path": "trials.json", "type": "table"}]','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('mlflow.parentRunId','800b8e398cde4953b43d17823d140b44','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "tags" VALUES('mlflow.runName','best net','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "tags" VALUES('fmce.role','fmce_net','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "tags" VALUES('mlflow.loggedArtifacts','[{"path": "results.json", "type": "table"}, {"path": "results_by_run.json", "type": "table"}]','6af4ef83762a4edfa13ed58f33c078bb');
INSERT INTO "tags" VALUES('fmce.best_model','models:/m-2336080fdd2a482bb785f65feb6e4581','800b8e398cde4953b43d17823d140b44');
INSERT INTO "tags" VALUES('mlflow.runName','evaluation of models:/legacy/1','ee7fb6a60d2b424488ba7744918eb153');
INSERT INTO "tags" VALUES('fmce.role','evaluation','ee7fb6a60d2b424488ba7744918eb153');
INSERT INTO "tags" VALUES('fmce.model_uri','models:/legacy/1','ee7fb6a60d2b424488ba7744918eb153');
INSERT INTO "tags" VALUES('fmce.modules','stage','ee7fb6a60d2b424488ba7744918eb153');
INSERT INTO "tags" VALUES('fmce.least_mature','stage','ee7fb6a60d2b424488ba7744918eb153');
INSERT INTO "tags" VALUES('fmce.predictor','models:/m-475529a4d09e42e0abd4f1812c347c3c','ee7fb6a60d2b424488ba7744918eb153');
INSERT INTO "tags" VALUES('fmce.images','a77421ba 64 60d2dbc3f02b','ee7fb6a60d2b424488ba7744918eb153');
INSERT INTO "tags" VALUES('mlflow.loggedArtifacts','[{"path": "fmce_modules.json", "type": "table"}, {"path": "fmce_samples.json", "type": "table"}]','ee7fb6a60d2b424488ba7744918eb153');
INSERT INTO "tags" VALUES('fmce.model_id','m-e031f0a98b3b4b96a2d864c816fdd5be','ee7fb6a60d2b424488ba7744918eb153');
INSERT INTO "tags" VALUES('mlflow.note.content','**FMCE**

stage: FMCS 0.50 ± 0.32, level 1 of 2; 1.00 by its losses

More in the artifact `fmce_report.html`.','ee7fb6a60d2b424488ba7744918eb153');
INSERT INTO "tags" VALUES('mlflow.runName','evaluation of models:/legacy/1','c1905a9d7178459790004867050bf666');
INSERT INTO "tags" VALUES('fmce.role','evaluation','c1905a9d7178459790004867050bf666');
INSERT INTO "tags" VALUES('fmce.model_uri','models:/legacy/1','c1905a9d7178459790004867050bf666');
INSERT INTO "tags" VALUES('fmce.modules','stage','c1905a9d7178459790004867050bf666');
INSERT INTO "tags" VALUES('fmce.least_mature','stage','c1905a9d7178459790004867050bf666');
INSERT INTO "tags" VALUES('fmce.predictor','models:/m-ebd564e0d5d348fa843f65fed835e2c4','c1905a9d7178459790004867050bf666');
INSERT INTO "tags" VALUES('fmce.images','a77421ba 64 60d2dbc3f02b','c1905a9d7178459790004867050bf666');
INSERT INTO "tags" VALUES('mlflow.loggedArtifacts','[{"path": "fmce_modules.json", "type": "table"}, {"path": "fmce_samples.json", "type": "table"}]','c1905a9d7178459790004867050bf666');
INSERT INTO "tags" VALUES('fmce.model_id','m-e031f0a98b3b4b96a2d864c816fdd5be','c1905a9d7178459790004867050bf666');
INSERT INTO "tags" VALUES('mlflow.note.content','**FMCE**

stage: FMCS 0.72 ± 0.33, level 2 of 2; 1.00 by its losses

More in the artifact `fmce_report.html`.','c1905a9d7178459790004867050bf666');
INSERT INTO "tags" VALUES('mlflow.runName','tests.data.legacy_net:tiny on digits, seed 0','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "tags" VALUES('fmce.role','backbone','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "tags" VALUES('fmce.probe_sha256','e5b9dc559f20dfc3a55361a3fd9fab31a5a828858c38950f5e0f1ef4998064eb','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "tags" VALUES('fmce.sha256/options.json','699bff5313d462e921a7aede61ca554e86fc37ccd019888772c12ec8a2ec45e5','ba1c929be1d24ac18306cd4288ba1352');
INSERT INTO "tags" VALUES('fmce.checkpoint','{"slot": "slot_1.safetensors", "snapshot": 3, "sha256": "e8e5a8e9390d887e70e954fe255938cf2052e8d2f3231ea2ba9f0642de86a9b2"}','ba1c929be1d24ac18306cd4288ba1352');
CREATE TABLE "trace_info" (
	request_id VARCHAR(50) NOT NULL, 
	experiment_id INTEGER NOT NULL, 
	timestamp_ms BIGINT NOT NULL, 
	execution_time_ms BIGINT, 
	status VARCHAR(50) NOT NULL, 
	client_request_id VARCHAR(50), 
	request_preview VARCHAR(1000), 
	response_preview VARCHAR(1000), 
	db_payload_generation INTEGER DEFAULT '0' NOT NULL, trace_name VARCHAR(4096), session_id VARCHAR(250), input_tokens BIGINT, output_tokens BIGINT, total_tokens BIGINT, cache_read_input_tokens BIGINT, cache_creation_input_tokens BIGINT, cache_creation_input_tokens_above_1hr BIGINT, input_cost FLOAT, output_cost FLOAT, total_cost FLOAT, 
	CONSTRAINT trace_info_pk PRIMARY KEY (request_id), 
	CONSTRAINT fk_trace_info_experiment_id FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id) ON DELETE CASCADE
);
CREATE TABLE trace_metrics (
	request_id VARCHAR(50) NOT NULL, 
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT, 
	CONSTRAINT trace_metrics_pk PRIMARY KEY (request_id, "key"), 
	CONSTRAINT fk_trace_metrics_request_id FOREIGN KEY(request_id) REFERENCES trace_info (request_id) ON DELETE CASCADE
);
CREATE TABLE "trace_request_metadata" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000), 
	request_id VARCHAR(50) NOT NULL, 
	CONSTRAINT trace_request_metadata_pk PRIMARY KEY ("key", request_id), 
	CONSTRAINT fk_trace_request_metadata_request_id FOREIGN KEY(request_id) REFERENCES trace_info (request_id) ON DELETE CASCADE
);
CREATE TABLE "trace_tags" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000), 
	request_id VARCHAR(50) NOT NULL, 
	CONSTRAINT trace_tag_pk PRIMARY KEY ("key", request_id), 
	CONSTRAINT fk_trace_tags_request_id FOREIGN KEY(request_id) REFERENCES trace_info (request_id) ON DELETE CASCADE
);
CREATE TABLE webhook_events (
	webhook_id VARCHAR(256) NOT NULL, 
	entity VARCHAR(50) NOT NULL, 
	action VARCHAR(50) NOT NULL, 
	CONSTRAINT webhook_event_pk PRIMARY KEY (webhook_id, entity, action), 
	FOREIGN KEY(webhook_id) REFERENCES webhooks (webhook_id) ON DELETE cascade
);
CREATE TABLE "webhooks" (
	webhook_id VARCHAR(256) NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	description VARCHAR(1000), 
	url VARCHAR(500) NOT NULL, 
	status VARCHAR(20) DEFAULT 'ACTIVE' NOT NULL, 
	secret VARCHAR(1000), 
	creation_timestamp BIGINT, 
	last_updated_timestamp BIGINT, 
	deleted_timestamp BIGINT, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT webhook_pk PRIMARY KEY (webhook_id)
);
CREATE TABLE workspaces (
	name VARCHAR(63) NOT NULL, 
	description TEXT, 
	default_artifact_root TEXT, trace_archival_location TEXT, trace_archival_retention VARCHAR(32), 
	CONSTRAINT workspaces_pk PRIMARY KEY (name)
);
INSERT INTO "workspaces" VALUES('default','Default workspace for legacy resources',NULL,NULL,NULL);
CREATE INDEX index_metrics_run_uuid ON metrics (run_uuid);
CREATE INDEX index_latest_metrics_run_uuid ON latest_metrics (run_uuid);
CREATE INDEX index_inputs_input_uuid ON inputs (input_uuid);
CREATE INDEX index_inputs_destination_type_destination_id_source_type ON inputs (destination_type, destination_id, source_type);
CREATE INDEX index_params_run_uuid ON params (run_uuid);
CREATE INDEX index_trace_tags_request_id ON trace_tags (request_id);
CREATE INDEX index_trace_request_metadata_request_id ON trace_request_metadata (request_id);
CREATE INDEX index_tags_run_uuid ON tags (run_uuid);
CREATE INDEX index_datasets_dataset_uuid ON datasets (dataset_uuid);
CREATE INDEX index_datasets_experiment_id_dataset_source_type ON datasets (experiment_id, dataset_source_type);
CREATE INDEX index_logged_model_metrics_model_id ON logged_model_metrics (model_id);
CREATE INDEX index_entity_associations_association_id ON entity_associations (association_id);
CREATE INDEX index_entity_associations_reverse_lookup ON entity_associations (destination_type, destination_id, source_type, source_id);
CREATE INDEX idx_webhook_events_entity ON webhook_events (entity);
CREATE INDEX idx_webhook_events_action ON webhook_events (action);
CREATE INDEX idx_webhook_events_entity_action ON webhook_events (entity, action);
CREATE UNIQUE INDEX index_scorers_experiment_id_scorer_name ON scorers (experiment_id, scorer_name);
CREATE INDEX index_scorer_versions_scorer_id ON scorer_versions (scorer_id);
CREATE INDEX index_evaluation_dataset_tags_dataset_id ON evaluation_dataset_tags (dataset_id);
CREATE INDEX index_evaluation_dataset_records_dataset_id ON evaluation_dataset_records (dataset_id);
CREATE INDEX index_endpoint_model_mappings_endpoint_id ON endpoint_model_mappings (endpoint_id);
CREATE INDEX index_endpoint_model_mappings_model_definition_id ON endpoint_model_mappings (model_definition_id);
CREATE INDEX index_endpoint_tags_endpoint_id ON endpoint_tags (endpoint_id);
CREATE INDEX index_trace_metrics_request_id ON trace_metrics (request_id);
CREATE UNIQUE INDEX unique_endpoint_model_linkage_mapping ON endpoint_model_mappings (endpoint_id, model_definition_id, linkage_type);
CREATE INDEX index_span_metrics_trace_id_span_id ON span_metrics (trace_id, span_id);
CREATE INDEX index_evaluation_datasets_created_time ON evaluation_datasets (created_time);
CREATE INDEX index_evaluation_datasets_name ON evaluation_datasets (name);
CREATE INDEX idx_webhooks_status ON webhooks (status);
CREATE INDEX idx_webhooks_name ON webhooks (name);
CREATE TRIGGER prevent_secrets_aad_mutation
BEFORE UPDATE ON secrets
FOR EACH ROW
WHEN OLD.secret_id != NEW.secret_id OR OLD.secret_name != NEW.secret_name
BEGIN
    SELECT RAISE(ABORT, 'secret_id and secret_name are immutable (used as AAD in encryption)');
END;
CREATE INDEX index_model_definitions_provider ON model_definitions (provider);
CREATE INDEX index_model_definitions_secret_id ON model_definitions (secret_id);
CREATE INDEX index_jobs_name_status_creation_time ON jobs (job_name, workspace, status, creation_time);
CREATE INDEX idx_experiments_workspace ON experiments (workspace);
CREATE INDEX idx_registered_models_workspace ON registered_models (workspace);
CREATE INDEX idx_experiments_workspace_creation_time ON experiments (workspace, creation_time);
CREATE INDEX idx_evaluation_datasets_workspace ON evaluation_datasets (workspace);
CREATE INDEX idx_webhooks_workspace ON webhooks (workspace);
CREATE INDEX idx_secrets_workspace ON secrets (workspace);
CREATE INDEX idx_endpoints_workspace ON endpoints (workspace);
CREATE INDEX idx_model_definitions_workspace ON model_definitions (workspace);
CREATE INDEX idx_budget_policies_workspace ON budget_policies (workspace);
CREATE INDEX index_issues_experiment_id ON issues (experiment_id);
CREATE INDEX index_issues_source_run_id ON issues (source_run_id);
CREATE INDEX index_issues_status ON issues (status);
CREATE INDEX index_metrics_run_uuid_key_step ON metrics (run_uuid, "key", step);
CREATE INDEX idx_guardrails_workspace ON guardrails (workspace);
CREATE INDEX idx_guardrails_scorer ON guardrails (scorer_id, scorer_version);
CREATE INDEX idx_guardrail_configs_endpoint_id ON guardrail_configs (endpoint_id);
CREATE INDEX idx_guardrail_configs_guardrail_id ON guardrail_configs (guardrail_id);
CREATE INDEX idx_model_version_tags_workspace_name_version ON model_version_tags (workspace, name, version);
CREATE INDEX idx_registered_model_tags_workspace_name ON registered_model_tags (workspace, name);
CREATE INDEX index_label_schemas_experiment_id ON label_schemas (experiment_id);
CREATE INDEX index_review_queues_experiment_id ON review_queues (experiment_id);
CREATE INDEX index_review_queue_users_user_id ON review_queue_users (user_id);
CREATE INDEX index_review_queue_items_queue_id_status ON review_queue_items (queue_id, status);
CREATE INDEX index_review_queue_items_item_id ON review_queue_items (item_id);
CREATE INDEX index_review_queue_label_schemas_schema_id ON review_queue_label_schemas (schema_id);
CREATE INDEX idx_mcp_server_versions_latest ON mcp_server_versions (workspace, name, status, version_major DESC, version_minor DESC, version_patch DESC);
CREATE INDEX ix_mcp_access_endpoints_server_name ON mcp_access_endpoints (workspace, server_name);
CREATE INDEX ix_mcp_access_endpoints_version ON mcp_access_endpoints (workspace, server_name, server_version);
CREATE INDEX ix_mcp_access_endpoints_alias ON mcp_access_endpoints (workspace, server_name, server_alias);
CREATE INDEX idx_budget_policies_target_value ON budget_policies (target_value);
CREATE INDEX index_trace_info_experiment_id_timestamp_ms ON trace_info (experiment_id, timestamp_ms);
CREATE INDEX index_trace_info_timestamp_ms_request_id ON trace_info (timestamp_ms, request_id);
CREATE INDEX index_assessments_last_updated_timestamp ON assessments (last_updated_timestamp);
CREATE INDEX index_assessments_run_id_created_timestamp ON assessments (run_id, created_timestamp);
CREATE INDEX index_assessments_assessment_type ON assessments (assessment_type);
CREATE INDEX index_assessments_trace_id_created_timestamp ON assessments (trace_id, created_timestamp);
CREATE INDEX index_spans_experiment_id_type_status ON spans (experiment_id, type, status);
CREATE INDEX index_spans_experiment_id_duration ON spans (experiment_id, duration_ns);
CREATE INDEX index_spans_experiment_id_status_type ON spans (experiment_id, status, type);
CREATE INDEX index_spans_experiment_id_start_time ON spans (experiment_id, start_time_unix_nano);
CREATE INDEX index_trace_info_experiment_id_session_id ON trace_info (experiment_id, session_id);
CREATE INDEX idx_trace_rollups_lookup ON sql_trace_metric_daily_rollups (experiment_id, rollup_day, metric_name, grouping_set, trace_status);
CREATE INDEX idx_span_cost_rollups_lookup ON sql_span_cost_daily_rollups (experiment_id, rollup_day, metric_name, grouping_set, model_name, model_provider);
CREATE INDEX idx_assessment_rollups_lookup ON sql_assessment_daily_rollups (experiment_id, rollup_day, metric_name, grouping_set);
CREATE INDEX idx_spans_cost_trace_time_cover ON spans (trace_id, start_time_unix_nano);
CREATE INDEX idx_spans_cost_exp_time_cover ON spans (experiment_id, start_time_unix_nano);
CREATE INDEX idx_assessments_exp_trace_ts ON assessments (experiment_id, trace_timestamp_ms);
CREATE INDEX idx_assessments_exp_trace_ts_name ON assessments (experiment_id, trace_timestamp_ms, name);
CREATE INDEX idx_assessments_exp_name_valid ON assessments (experiment_id, name, valid);
CREATE INDEX index_job_locks_job_id ON job_locks (job_id);
CREATE INDEX index_jobs_status_lease_expires_at ON jobs (status, lease_expires_at);
COMMIT;
